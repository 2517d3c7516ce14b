"""What comes instead of the file one wanted, known by its first bytes."""


def recognise_impostor(head: bytes) -> str | None:
    """Names the usual things that come instead of the file one wanted, and the way out.

    Args:
        head: The first bytes of the file; 256 are enough.

    Returns:
        The rest of a sentence that starts with the file's path, or None if it is none of them.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository."
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page, most likely from a failed download: download it again."
    return None
