"""A stand-in Leonardo.ai API over real HTTP on loopback, written from the vendor's documentation.

What belongs here: the documented contract with its real quirks, an account with an exact bill, and scriptable faults.
What does not: anything shared with the client that is tested against it. This package imports only the standard
library, starlette, uvicorn and pillow, so that a misreading in the client cannot be repeated here by accident.
"""
