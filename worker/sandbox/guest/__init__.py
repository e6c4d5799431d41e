"""What runs in the interpreter of the cells: zygote, init and cell.

Only the standard library and IPython, on any Python the project supports, with none of our packages installed:
the launcher starts these modules from their file paths under a private package name.
"""
