# expect: status=disk, or stdout has CONTAINED: what the worker's user may not look into cannot hide files
# group: disk
# what: A folder that can be written but not read, and a program that can be executed but not read.
import os, subprocess, sys, time
FILL = "import os\nfor i in range(15): fd = os.open('x', 66); os.unlink('x'); os.write(fd, bytes(90 << 20))\nimport time; time.sleep(.3); print('ESCAPED: 1350 MB on disk')"
try:
    data = open(os.path.realpath(sys.executable), "rb").read()
    fd = os.open("program", os.O_CREAT | os.O_WRONLY, 0o111); os.write(fd, data); os.close(fd)
    done = subprocess.run([os.path.realpath("program"), "-c", FILL], env={"PYTHONHOME": sys.base_prefix}, capture_output=True, text=True)
    if "ESCAPED" in done.stdout: print(done.stdout)
except OSError: pass
try:
    os.mkdir("closed", 0o300)
    for i in range(15):
        with open("closed/%d" % i, "wb") as f: f.write(bytes(90 << 20))
    time.sleep(0.3); print("ESCAPED: 1350 MB on disk")
except OSError: print("CONTAINED")
