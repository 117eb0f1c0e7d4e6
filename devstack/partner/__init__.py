"""The example partner: a REST API with orders and inventory, and a webhook receiver that keeps what arrives.

Each front is one file that hands its routes to `app.py`; the OAuth server will be one more.
"""
