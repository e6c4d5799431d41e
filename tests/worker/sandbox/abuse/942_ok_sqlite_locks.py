# expect: stdout has ok: a database is locked against a second writer of the same cell, and both get their turn
# group: legitimate
# what: Two processes write to one sqlite database; and a lock of one process on a file of the cell holds up another.
import fcntl, multiprocessing, os, sqlite3
sqlite3.connect("cell.db").execute("create table t (a)")
def write(n):
    db = sqlite3.connect("cell.db", timeout=20)
    for i in range(20):
        with db: db.execute("insert into t values (?)", (n * 100 + i,))
    db.close()
context = multiprocessing.get_context("fork")
workers = [context.Process(target=write, args=(n,)) for n in range(2)]
[w.start() for w in workers]; [w.join() for w in workers]
rows = sqlite3.connect("cell.db").execute("select count(*), count(distinct a) from t").fetchone()
held = open("held", "w"); fcntl.lockf(held, fcntl.LOCK_EX)
pid = os.fork()
if pid == 0:
    try: fcntl.lockf(open("held", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB); os._exit(0)
    except OSError: os._exit(7)
print("ok" if rows == (40, 40) and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7 else "broken %r" % (rows,))
