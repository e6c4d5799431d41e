# expect: status=failed; without a channel to report on the run is not taken for a success
# group: output
# what: Closes the event channel, or puts a file in its place, and ends normally.
import os
os.write(1, b"closing\n")
os.close(3)
fd = os.open("elsewhere", os.O_RDWR | os.O_CREAT)
os.dup2(fd, 3)
