"""System calls, namespaces, seccomp, Landlock, control groups, accounting. Mechanism only, no policy."""
