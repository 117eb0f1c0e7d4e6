"""A Xano-compatible business group (tables `orders` and `inventory`) for a machine without Xano.

Facts section 7.4 says what it must do to be honest; sections 1.6, 2.3, 2.5, 2.10 and 3 say what Xano does.
Where nobody knows what Xano does, the docstring says "a guess".
"""
