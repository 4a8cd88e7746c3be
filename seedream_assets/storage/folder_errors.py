"""The operating system's errors, as the store's errors.

Here belongs what an errno means for a caller and what a person can do about it.
"""

from __future__ import annotations

import errno

from seedream_assets.errors import StoreError, StoreRefused, StoreUnavailable

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_PLACE = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_FOR_NOW = {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM,
            errno.ETIMEDOUT}  # fmt: skip


def folder_error(error: OSError, *, doing: str, uri: str) -> StoreError:
    """The error to raise for `error`, chained with `from` at the call site.

    Args:
        error: What the operating system said.
        doing: The verb: "create", "read" and so on.
        uri: Of the object or of the store.
    """
    said = f"cannot {doing} {uri}: {error.strerror or error}"
    if error.errno in _NO_ROOM:
        return StoreRefused(f"{said}; nothing was left there. Make room, or point the store at a larger disk")
    if error.errno in _NO_PERMISSION:
        return StoreRefused(f"{said}. Give this user the right to read and write the store's folder")
    if error.errno in _NO_PLACE:
        return StoreRefused(
            f"{said}. In a folder an object cannot also be the folder of other objects, and something that is not "
            "the store's own may be in the way"
        )
    if error.errno in _FOR_NOW:
        return StoreUnavailable(said)
    return StoreRefused(said)
