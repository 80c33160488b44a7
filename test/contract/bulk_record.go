package contract

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func bulkOnce(t *testing.T, s Store) {
	k := keyOf("key", "bulk")
	b := newBulk(domain.BulkCancel, domain.TaskFilter{Text: "x"})
	if first, err := s.Bulks.AddOnce(t.Context(), k, b); first != nil || err != nil {
		t.Fatalf("the first: %+v, %v", first, err)
	}
	wantBulk(t, s, b)
	again := newBulk(domain.BulkCancel, domain.TaskFilter{Text: "x"})
	first, err := s.Bulks.AddOnce(t.Context(), k, again)
	if err != nil || first == nil || first.ID != b.ID {
		t.Errorf("again: %+v, %v", first, err)
	}
	if _, err := s.Bulks.Get(t.Context(), again.ID); !errors.Is(err, domain.ErrBulkNotFound) {
		t.Errorf("the second is stored: %v", err)
	}
	other := keyOf("key", "another")
	if _, err := s.Bulks.AddOnce(t.Context(), other, again); !errors.Is(err, domain.ErrKeyReused) {
		t.Errorf("another request with the key: %v", err)
	}
	if _, _, err := s.Tasks.AddOnce(t.Context(), other, makeTask(t)); !errors.Is(err, domain.ErrKeyReused) {
		t.Errorf("tasks with the key of an action: %v", err)
	}
	expired := k
	expired.Now, expired.Expires = k.Expires, k.Expires.Add(time.Hour)
	if first, err := s.Bulks.AddOnce(t.Context(), expired, again); first != nil || err != nil {
		t.Errorf("after the key has expired: %+v, %v", first, err)
	}
	bulkTwins(t, s)
}

// bulkTwins are requests with one key, all at once.
func bulkTwins(t *testing.T, s Store) {
	t.Helper()
	k := keyOf("twins", "bulk")
	var mu sync.Mutex
	var wg sync.WaitGroup
	stored := 0
	for range 8 {
		b := newBulk(domain.BulkStop, domain.TaskFilter{})
		wg.Go(func() {
			first, err := s.Bulks.AddOnce(t.Context(), k, b)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("a twin: %v", err)
			} else if first == nil {
				stored++
			}
		})
	}
	wg.Wait()
	if stored != 1 {
		t.Errorf("%d of 8 twins are stored", stored)
	}
}

func bulkList(t *testing.T, s Store) {
	var want []domain.Bulk
	for range 5 {
		want = append([]domain.Bulk{addBulk(t, s, domain.BulkRetry, domain.TaskFilter{Text: "x"})}, want...)
	}
	s.BreakFilter(t, want[1].ID)
	var got []domain.Bulk
	var omitted []domain.BulkID
	for q := (application.BulkQuery{Limit: 2}); ; {
		list, err := s.Bulks.List(t.Context(), q)
		if err != nil || len(list.Bulks)+len(list.Omitted) > 2 {
			t.Fatalf("list: %+v, %v", list, err)
		}
		got, omitted = append(got, list.Bulks...), append(omitted, list.Omitted...)
		if len(list.Bulks) == 0 {
			break
		}
		q.Before = list.Bulks[len(list.Bulks)-1].ID
	}
	if diff := cmp.Diff([]domain.Bulk{want[0], want[2], want[3], want[4]}, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if len(omitted) == 0 || omitted[0] != want[1].ID {
		t.Errorf("omitted: %v, want %v", omitted, want[1].ID)
	}
}
