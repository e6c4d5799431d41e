"""The embedded cluster: a private server and a supervised worker, shared by a user's kernels."""
