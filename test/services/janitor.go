package services

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// janitorScript cleans up once its input ends. $1 is the directory of the test
// process; each file in its pids holds a signal and the process it ends. Moving
// pids away first keeps a server that is just starting from starting (see
// announceScript). Whoever ignores its signal for 5 seconds is killed. A killed
// PostgreSQL leaves a segment of shared memory, named in its postmaster.pid.
const janitorScript = `
trap '' HUP INT QUIT TERM
cat
dir=$1
cd "$dir" || exit 0
mv pids ended
round=0
while [ $round -lt 100 ]; do
  left=
  for file in ended/*; do
    [ -f "$file" ] || continue
    if ! read -r signal pid <"$file"; then left=1; continue; fi
    [ $round -lt 50 ] || signal=KILL
    if kill -s "$signal" "$pid"; then left=1; else rm "$file"; fi
  done
  [ -n "$left" ] || break
  sleep 0.1
  round=$((round + 1))
done
for file in */data/postmaster.pid; do
  set -- $(sed -n 7p "$file")
  [ $# -ne 2 ] || ipcrm -m "$2"
done
cd /
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$dir"
  [ -e "$dir" ] || exit 0
  sleep 0.5
done
`

// workspace is the directory that holds all that the servers of this test
// process write.
type workspace struct {
	dir    string
	owner  *syscall.Credential // whom the servers run as; nil: as the test process
	leash  *os.File            // the janitor acts when this is closed: with the process
	mu     sync.Mutex
	number int
}

// openWorkspace makes the workspace of this process, on first use.
var openWorkspace = sync.OnceValues(func() (*workspace, error) {
	w := &workspace{}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		var err error
		if w.owner, err = unprivileged(); err != nil {
			return nil, err
		}
	}
	name := make([]byte, 6)
	rand.Read(name)
	w.dir = filepath.Join(w.tempDir(), "millrace-test-"+hex.EncodeToString(name))
	// The janitor comes first: it has nothing to do if the directory is never made.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	w.leash = write
	janitor := exec.Command("/bin/sh", "-c", janitorScript, "janitor", w.dir)
	janitor.Stdin = read
	janitor.Dir = "/"
	janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := janitor.Start(); err != nil {
		return nil, fmt.Errorf("start the janitor: %w", err)
	}
	for _, dir := range []string{w.dir, w.pids()} {
		if err := w.mkdir(dir); err != nil {
			return nil, err
		}
	}
	return w, nil
})

// unprivileged is the user that servers run as when the tests run as root.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("no user postgres or nobody to run PostgreSQL as: it refuses to run as root")
}

// tempDir is where the owner of the servers may enter.
func (w *workspace) tempDir() string {
	dir, err := filepath.Abs(os.TempDir())
	if err != nil {
		return "/tmp"
	}
	for at := dir; w.owner != nil; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err != nil || info.Mode().Perm()&1 == 0 {
			return "/tmp"
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	return dir
}

func (w *workspace) pids() string { return filepath.Join(w.dir, "pids") }

// mkdir makes a directory for the servers alone.
func (w *workspace) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if w.owner == nil {
		return nil
	}
	return os.Chown(dir, int(w.owner.Uid), int(w.owner.Gid))
}

// newDir makes a directory for one server.
func (w *workspace) newDir(kind string) (string, error) {
	dir := filepath.Join(w.dir, fmt.Sprintf("%s-%d", kind, w.next()))
	return dir, w.mkdir(dir)
}

func (w *workspace) next() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	return w.number
}
