package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/internal/group"
	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/domain"
)

// The bounds of what concurrent callers write with one statement.
const (
	maxShared      = 500     // tasks
	maxSharedBytes = 4 << 20 // of messages or results
)

// shared are the writes that concurrent callers do together: one statement and one
// commit for all that came while the one before was under way.
type shared struct {
	adds  *group.Group[[]*domain.Task]
	onces *group.Group[*onceItem]
	saves *group.Group[*saveItem]
}

// onceItem is what a caller of AddOnce wants, and what came of it.
type onceItem struct {
	keyed
	apart  bool // somebody has locked one of the keys that it was with: nothing was done
	stored bool
}

// saveItem is what a caller of Save wants, and what came of it.
type saveItem struct {
	task   *domain.Task
	again  bool // somebody else had the task locked at the first try
	stored bool
}

func newShared(p pool, cfg Config) shared {
	return shared{
		adds:  group.New(groupConfig(cfg, p.addUnits, sizeOf)),
		onces: group.NewKeyed(groupConfig(cfg, p.addAllOnce, (*onceItem).size), (*onceItem).id),
		saves: group.NewKeyed(groupConfig(cfg, p.saveAll, (*saveItem).size), (*saveItem).id),
	}
}

func groupConfig[T any](cfg Config, commit func(items []T) error, size func(item T) (count, weight int)) group.Config[T] {
	return group.Config[T]{
		Commit: commit, SplitOn: pgconn.AboutData, Size: size, MaxCount: maxShared, MaxWeight: maxSharedBytes,
		Committed: cfg.Committed,
		MaxStall:  cfg.CallTimeout / 5, // a stalled link is to hold a caller for little more than the call timeout
	}
}

// sizeOf is how many tasks these are, and how long their messages.
func sizeOf(tasks []*domain.Task) (count, weight int) {
	for _, t := range tasks {
		weight += len(t.Message())
	}
	return len(tasks), weight
}

func (i *onceItem) size() (count, weight int) { return sizeOf(i.tasks) }

// keyID says which key it is: a statement cannot store one twice.
type keyID struct{ owner, key string }

func (i *onceItem) id() keyID { return keyID{i.Owner, i.Key} }

func (i *saveItem) size() (count, weight int) { return 1, len(i.task.Result()) }

// id says which task it is: a statement cannot store two versions of one.
func (i *saveItem) id() domain.TaskID { return i.task.ID() }

// close waits until all that is under way is done.
func (s shared) close() {
	s.adds.Close()
	s.onces.Close()
	s.saves.Close()
}

// share does the item with those of others. ctx ends the wait until it is begun.
func share[T any](ctx context.Context, g *group.Group[T], item T) error {
	err := g.Do(ctx, item)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, group.ErrClosed):
		return pgconn.Outage(err)
	case pgconn.SQLState(err) != "":
		return err // is translated, as all that Commit says
	}
	return pgconn.Translate(err)
}

// addUnits stores the tasks of many callers, all or none.
func (p pool) addUnits(units [][]*domain.Task) error {
	return p.addAll(context.Background(), slices.Concat(units...))
}

func (p pool) addAll(ctx context.Context, tasks []*domain.Task) error {
	query, args := insertOf(tasks)
	return p.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return query.Exec(ctx, c, args...)
	})
}

// addAllOnce stores the keys of many callers, and the tasks of those that are not
// remembered. The earliest of their times decides what has expired: a key that is
// taken to be remembered is looked for, and tried again. Statements lock keys in this
// order everywhere. Behind a key that somebody else has locked they are all undone, and
// to be done apart.
func (p pool) addAllOnce(items []*onceItem) error { return p.addOnce(context.Background(), items) }

func (p pool) addOnce(ctx context.Context, items []*onceItem) error {
	slices.SortFunc(items, func(a, b *onceItem) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Key, b.Key))
	})
	now, keys := items[0].Now, make([]keyed, len(items))
	for i, item := range items {
		keys[i] = item.keyed
		if item.Now.Before(now) {
			now = item.Now
		}
	}
	var stored []bool
	locked, err := p.WriteUnlocked(ctx, func(ctx context.Context, c *sqlx.Conn) (err error) {
		stored, err = insertOnce(ctx, c, now, keys...)
		return err
	})
	if err != nil {
		return err
	}
	for i, item := range items {
		item.apart, item.stored = locked, !locked && stored[i]
	}
	return nil
}

// saveAll stores the tasks of many callers, each if the stored task is as it was loaded
// and nobody else has locked it. It waits for none of them, but for the moment that
// others need to end what they have begun; for those that were locked before, not even
// that.
//
// One that was locked before makes its whole group skip. For another that happens to be
// locked at that moment this means a try of its own after firstLockPause. Two statements
// could not be undone together, and callers repeat what has failed; and a statement that
// waits for some rows and not for others is one more to plan, for what lasts as long as
// an operator's transaction.
func (p pool) saveAll(items []*saveItem) error {
	tasks := make([]*domain.Task, len(items))
	for i, item := range items {
		tasks[i] = item.task
	}
	var stored []domain.TaskID
	store := func(l locks) func(ctx context.Context, c *sqlx.Conn) error {
		return func(ctx context.Context, c *sqlx.Conn) (err error) {
			stored, err = storeChanged(ctx, c, tasks, l)
			return err
		}
	}
	var err error
	if slices.ContainsFunc(items, func(i *saveItem) bool { return i.again }) {
		err = p.Write(context.Background(), store(skipLocked))
	} else {
		err = p.WriteBriefly(context.Background(), store(waitBriefly), store(skipLocked))
	}
	if err != nil {
		return err
	}
	ids := make(map[domain.TaskID]bool, len(stored))
	for _, id := range stored {
		ids[id] = true
	}
	for _, item := range items {
		item.stored = ids[item.task.ID()]
	}
	return nil
}
