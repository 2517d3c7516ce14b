"""Harnesses are run by hand; what they import isn't installed for the tests."""

collect_ignore_glob = ["fuzz_*.py"]
