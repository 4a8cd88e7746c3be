"""A stand-in Leonardo.ai API over real HTTP on loopback, written from the vendor's documentation.

The documented contract with its real quirks, an account with an exact bill, and scriptable faults. Nothing is shared with
the client that is tested against it: this package imports only the standard library, starlette, uvicorn, pydantic and
pillow, so that a misreading in the client cannot be repeated here by accident.
"""
