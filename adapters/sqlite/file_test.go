package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen_MakesFilesThatOnlyTheirOwnerReads(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	db, _ := open(t, filepath.Join(dir, "millrace.db"))
	addTask(t, storeOn(db))
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) != 4 { // the database, its log, what is shared of the log, and the lock
		t.Errorf("there are %d files", len(files))
	}
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %s", f.Name(), got)
		}
	}
}

func TestOpen_LeavesTheModeOfAFileThatIsThere(t *testing.T) {
	path := fresh(t)
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Chmod(path, 0o640))
	open(t, path)
	info, err := os.Stat(path)
	must(t, err)
	if got := info.Mode().Perm(); got != 0o640 {
		t.Errorf("the mode is %s", got)
	}
}

// What may become of an open file, and what makes it good again.
var fates = map[string]struct{ happens, mended func(path string) error }{
	"Removed": {happens: os.Remove},
	"MovedAway": {
		func(path string) error { return os.Rename(path, path+".away") },
		func(path string) error { return os.Rename(path+".away", path) },
	},
	"MovedOver": {happens: func(path string) error {
		return errors.Join(os.WriteFile(path+".other", nil, 0o600), os.Rename(path+".other", path))
	}},
	"MovedBehindALink": {
		func(path string) error {
			return errors.Join(os.Rename(path, path+".moved"), os.Symlink(path+".moved", path))
		},
		func(path string) error { return os.Rename(path+".moved", path) },
	},
	"LogRemoved": {happens: func(path string) error { return os.Remove(path + "-wal") }},
	"LogReplaced": {happens: func(path string) error {
		return errors.Join(os.Remove(path+"-wal"), os.WriteFile(path+"-wal", nil, 0o600))
	}},
	"LogCutToNothing": {happens: func(path string) error { return os.Truncate(path+"-wal", 0) }},
	"LogCutByAByte": {happens: func(path string) error {
		log, err := os.Stat(path + "-wal")
		return errors.Join(err, os.Truncate(path+"-wal", log.Size()-1))
	}},
	"FolderMoved": {
		func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".away") },
		func(path string) error { return os.Rename(filepath.Dir(path)+".away", filepath.Dir(path)) },
	},
}

func TestDB_IsUnavailableWhileItsFileIsGone(t *testing.T) {
	for name, fate := range fates {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data", "millrace.db")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			db, _ := open(t, path)
			store := storeOn(db)
			before := addTask(t, store)
			must(t, fate.happens(path))

			task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(1)}, time.Now())
			must(t, err)
			_, getErr := store.Tasks.Get(t.Context(), before.ID())
			_, listErr := store.Search.List(t.Context(), application.TaskQuery{Limit: 1, Window: 1})
			_, _, countErr := store.Search.Count(t.Context(), application.TaskQuery{Limit: 1, Window: 1})
			_, aheadErr := store.Queues.Ahead(t.Context(), before, 1)
			for name, err := range map[string]error{
				"add": store.Tasks.Add(t.Context(), task), "leave": store.Workers.Leave(t.Context(), "w"),
				"get": getErr, "list": listErr, "count": countErr, "ahead": aheadErr, "probe": db.Probe(t.Context()),
			} {
				if public := domain.Public(err); !errors.Is(err, domain.ErrUnavailable) || public.Message == domain.ErrUnavailable.Message {
					t.Errorf("%s: %v, want ErrUnavailable and the reason", name, err)
				}
			}
			if fate.mended == nil {
				return
			}
			must(t, fate.mended(path))
			must(t, db.Probe(t.Context()))
			must(t, store.Tasks.Add(t.Context(), task))
		})
	}
}

// SQLite itself shortens the log when somebody asks it to.
func TestDB_GoesOnWhenACheckpointHasEmptiedTheLog(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	store := storeOn(db)
	writer, _ := sqlite.Pools(db)
	for range 3 {
		addTask(t, store)
		writer.MustExec("PRAGMA wal_checkpoint(TRUNCATE)")
		if log, err := os.Stat(path + "-wal"); err != nil || log.Size() != 0 {
			t.Fatalf("the log was not emptied: %v", err)
		}
		must(t, db.Probe(t.Context()))
	}
	addTask(t, store)
	must(t, db.Probe(t.Context()))
}

// Half of the file is gone: a list says so as an outage, and so does readiness from then on.
func TestDB_ADamagedFileIsAnOutageWithAReason(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	store := storeOn(db)
	for range 50 {
		addTask(t, store)
	}
	writer, _ := sqlite.Pools(db)
	writer.MustExec("PRAGMA wal_checkpoint(TRUNCATE)")
	must(t, os.Truncate(path, 8192))
	_, err := store.Search.List(t.Context(), application.TaskQuery{Limit: 50, Window: 50})
	for name, err := range map[string]error{"list": err, "probe": db.Probe(t.Context())} {
		if !errors.Is(err, domain.ErrUnavailable) || !strings.Contains(domain.Public(err).Message, "damaged") {
			t.Errorf("%s: %v, want ErrUnavailable and that the file is damaged", name, err)
		}
	}
}

// A file that goes while a transaction is under way: what was committed is not said to
// be stored.
func TestWrite_FailsIfTheFileGoesMeanwhile(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	store := storeOn(db)
	task := addTask(t, store)
	err := store.Queues.Change(t.Context(), task.Queue(), func(*domain.QueueSettings) error { return os.Remove(path) })
	if !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

func TestOpen_RefusesALinkThatLeadsNowhere(t *testing.T) {
	path := fresh(t)
	must(t, os.Symlink(path+".gone", path))
	if _, _, err := sqlite.Open(path); err == nil || !strings.Contains(err.Error(), path+".gone, which does not exist") {
		t.Errorf("%v, want what the link leads to", err)
	}
	if _, err := os.Lstat(path + ".gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want no file that the link leads to", err)
	}
}

func TestOpen_RefusesASecondWhateverIsRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(path string) error
		opened  string // what the second opens, after the path
	}{
		"LockRemoved":       {func(path string) error { return os.Remove(path + ".lock") }, ""},
		"Moved":             {func(path string) error { return os.Rename(path, path+".new") }, ".new"},
		"MovedAndLogBeside": {func(path string) error { return os.Rename(path, path+".new") }, ""},
		"HardLink":          {func(path string) error { return os.Link(path, path+".new") }, ".new"},
	} {
		t.Run(name, func(t *testing.T) {
			path := fresh(t)
			_, closeDB := open(t, path)
			must(t, c.happens(path))
			if _, _, err := sqlite.Open(path + c.opened); !errors.Is(err, sqlite.ErrInUse) {
				t.Errorf("a second open: %v, want ErrInUse", err)
			}
			closeDB()
			if _, err := os.Stat(path + c.opened); errors.Is(err, fs.ErrNotExist) {
				return
			}
			_, closeSecond, err := sqlite.Open(path + c.opened)
			must(t, err)
			closeSecond()
		})
	}
}
