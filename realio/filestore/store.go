package filestore

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"weir/bill"
	"weir/core/env"
	"weir/realio/workers"
)

// Options configure a Store.
type Options struct {
	// Path is a directory on a local file system, created if it is absent. Required.
	Path string
	// Deliver puts a completed operation into the node's mailbox. It is called from many goroutines
	// and may run a turn of the loop. Required.
	Deliver func(env.Event)
	// Log takes what an operator should know. Nil: none.
	Log env.Logger
	// Metrics makes counters of requests and bytes as S3 would bill them. Nil: none.
	Metrics env.Metrics
	// InFlightMax bounds the operations that run at once; further ones wait in order. Zero: 16.
	InFlightMax int
}

// Store implements env.ObjectStore. Its methods may be called from any goroutine, and never block.
type Store struct {
	root    string
	pool    *workers.Pool[env.Event]
	session *session
	folders folders
	writer  writer
	meter   *bill.Meter
	ended   atomic.Bool // Abandon was called
}

var (
	_ env.ObjectStore = (*Store)(nil)
	_ env.Abandoner   = (*Store)(nil)
)

// Open creates the directory if it is absent, removes unfinished files of killed processes, and makes
// the objects that they had named durable.
func Open(o Options) (*Store, error) {
	if o.InFlightMax <= 0 {
		o.InFlightMax = 16
	}
	s := &Store{root: filepath.Clean(o.Path), meter: bill.NewMeter(o.Metrics)}
	if err := makeRoot(s.root); err != nil {
		return nil, fmt.Errorf("make object directory: %w", err)
	}
	s.folders.durable = map[string]bool{}
	var err error
	if s.session, err = openSession(filepath.Join(s.root, sessionsName)); err != nil {
		return nil, fmt.Errorf("open object directory %q: %w", o.Path, err)
	}
	if err = syncFileSystem(s.root); err == nil {
		s.writer, err = probeWriter(s.session.path("probe"))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open object directory %q: %w", o.Path, err), s.session.close())
	}
	if !s.writer.direct && o.Log != nil {
		o.Log.Log(slog.LevelWarn, "the file system of the object directory refuses direct I/O: uploads go through the page cache "+
			"and may slow a write-ahead log on the same device", slog.String("path", s.root))
	}
	s.pool = workers.New(o.InFlightMax, s.run, o.Deliver)
	return s, nil
}

// syncFileSystem makes durable whatever an earlier process left in the page cache: readers are going
// to see it, and must not lose it to a power failure afterwards.
func syncFileSystem(root string) error {
	fd, err := open(root, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(fd), unix.Close(fd))
}

// Abandon implements env.Abandoner: a put in flight ends before its next chunk.
func (s *Store) Abandon() { s.ended.Store(true) }

// Shutdown ends the puts in flight and waits for the other operations, which are short. Operations
// submitted afterwards are never completed.
func (s *Store) Shutdown() error {
	s.Abandon()
	s.pool.Close()
	return s.session.close()
}

// Put implements env.ObjectStore.
func (s *Store) Put(o *env.PutObject) { s.pool.Submit(o) }

// Compose implements env.ObjectStore.
func (s *Store) Compose(o *env.ComposeObject) { s.pool.Submit(o) }

// Get implements env.ObjectStore.
func (s *Store) Get(o *env.GetObject) { s.pool.Submit(o) }

// Delete implements env.ObjectStore.
func (s *Store) Delete(o *env.DeleteObject) { s.pool.Submit(o) }

// List implements env.ObjectStore.
func (s *Store) List(o *env.ListObjects) { s.pool.Submit(o) }

// run does one operation, on a worker.
func (s *Store) run(e env.Event) {
	switch o := e.(type) {
	case *env.PutObject:
		o.Outcome, o.Err = s.put(o.Key, sliced(o.Body))
	case *env.ComposeObject:
		o.Outcome, o.Err = s.put(o.Key, s.composed(o.Pieces))
	case *env.GetObject:
		s.get(o)
	case *env.DeleteObject:
		o.Outcome, o.Err = s.remove(o.Key)
	case *env.ListObjects:
		s.list(o)
	}
	bill.Operation(s.meter, e)
}

func (s *Store) locate(key string) (dir, name string, err error) {
	dir, name, err = locate(key)
	return filepath.Join(s.root, dir), name, err
}

// put writes the body to a file of the session, and gives it its name once it is durable.
func (s *Store) put(key string, body pieces) (env.Outcome, error) {
	dir, name, err := s.locate(key)
	if err != nil {
		return env.OutcomeFailed, err
	}
	target := filepath.Join(dir, name)
	if s.ended.Load() {
		return env.OutcomeFailed, s.failure("put", key, errEnded)
	}
	var stat unix.Stat_t
	if unix.Lstat(target, &stat) == nil {
		return s.exists(key, dir)
	}
	temporary := s.session.next()
	err = s.writer.write(temporary, body, &s.ended)
	if err == nil {
		err = s.folders.make(s.root, dir)
	}
	if err != nil {
		outcome := env.OutcomeFailed
		if errors.Is(err, errNoSource) {
			outcome = env.OutcomeRefused
		}
		if gone := s.present(); gone != nil {
			outcome, err = env.OutcomeFailed, gone
		}
		return outcome, s.failure("put", key, errors.Join(err, unlink(temporary)))
	}
	err = nameOnce(temporary, target)
	if errors.Is(err, unix.EEXIST) {
		return s.exists(key, dir)
	}
	if err != nil {
		s.folders.forget(dir)
		return env.OutcomeFailed, s.failure("put", key, err)
	}
	if err := syncDirectory(dir); err != nil {
		return env.OutcomeUnknown, s.failure("put", key, err)
	}
	return env.OutcomeDone, nil
}

// exists refuses a put once the object that is in its way is sure to stay: whoever put it may have
// died, or may not have come so far yet.
func (s *Store) exists(key, dir string) (env.Outcome, error) {
	if err := syncDirectory(dir); err != nil {
		return env.OutcomeFailed, s.failure("put", key, err)
	}
	return env.OutcomeRefused, fmt.Errorf("put %s: the object exists", key)
}

// nameOnce moves a file to a name that must be free. Where the file system cannot do that at once,
// a second link does it.
func nameOnce(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = unix.Link(from, to)
	} else if err == nil {
		return nil
	}
	if gone := unlink(from); err == nil {
		err = gone
	}
	return err
}

func unlink(name string) error {
	if err := unix.Unlink(name); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func (s *Store) get(o *env.GetObject) {
	o.N, o.Size = 0, 0
	dir, name, err := s.locate(o.Key)
	if err == nil {
		o.N, o.Size, err = read(filepath.Join(dir, name), o)
	}
	o.Outcome, o.Err = env.OutcomeDone, nil
	if err == nil {
		return
	}
	absent := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENAMETOOLONG)
	if gone := s.present(); gone != nil {
		absent, err = false, gone
	}
	o.Outcome, o.Err = env.OutcomeFailed, s.failure("get", o.Key, err)
	if absent {
		o.Outcome = env.OutcomeRefused
	}
}

func read(name string, o *env.GetObject) (int, int64, error) {
	fd, err := open(name, unix.O_RDONLY)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, 0, err
	}
	n := 0
	for room := o.Room(0); len(room) > 0; room = o.Room(n) {
		more, err := unix.Pread(fd, room, o.Offset+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		if more == 0 {
			break
		}
		n += more
	}
	return n, stat.Size, nil
}

// remove is durable when it returns. An error after the effect leaves open whether it stays.
func (s *Store) remove(key string) (env.Outcome, error) {
	dir, name, err := s.locate(key)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return env.OutcomeDone, nil // such an object cannot exist
	}
	if err == nil {
		err = unlink(filepath.Join(dir, name))
	}
	if err != nil {
		return env.OutcomeFailed, s.failure("delete", key, err)
	}
	err = syncDirectory(dir)
	if errors.Is(err, unix.ENOENT) {
		err = s.present() // no folder, no object; unless all of them are elsewhere
	}
	if err != nil {
		return env.OutcomeUnknown, s.failure("delete", key, err)
	}
	return env.OutcomeDone, nil
}
