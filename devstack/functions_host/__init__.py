"""A local Azure Functions host for Python: Microsoft's own worker library behind an HTTP front of ours.

Start it with `python -m devstack.functions_host --app-root PATH --port N`. What it reproduces, and from
where each rule comes, is written in the facts sheet (azure-functions.md section 9).
"""
