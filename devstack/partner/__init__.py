"""The example partner: a REST API with orders and inventory, an OAuth server, and a webhook receiver that keeps what
arrives. Each front is one file that hands its routes to `app.py`.
"""
