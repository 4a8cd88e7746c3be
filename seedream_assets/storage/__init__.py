"""Objects under keys, in S3 or in a local folder.

Here belongs everything that knows how bytes are kept: `open_store` gives an `ObjectStore`, `prompts.sources` reads the
files a dataset is made from. What the bytes mean (ledger events, images, manifests) is not known here.
"""
