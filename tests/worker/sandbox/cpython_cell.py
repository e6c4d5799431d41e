# Runs one module of CPython's own tests in a cell and prints what failed as JSON; ARGUMENTS is put in before.
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

done = subprocess.run(
    [sys.executable, "-m", "test", "-W", "--junit-xml", "result.xml", "--timeout", "120", *ARGUMENTS],  # noqa: F821
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors="replace",
    check=False,
)
ran = len(list(ET.parse("result.xml").iter("testcase"))) if Path("result.xml").exists() else 0
# "ERROR: test_name (test.test_module.Class.test_name)"
broken = sorted(set(re.findall(r"^(?:ERROR|FAIL): \w+ \((?:[\w.]*\.)?(\w+\.\w+)\)", done.stdout, re.MULTILINE)))
print(json.dumps({"ran": ran, "failed": broken, "status": done.returncode, "end": done.stdout[-3000:]}))
