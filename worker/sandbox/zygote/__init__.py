"""The zygote: the warm process that cells are forked from, and the namespace server that builds their surroundings."""
