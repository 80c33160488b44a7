package domain_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

func TestNewTaskID_IsAVersion7UUIDOfItsTime(t *testing.T) {
	for _, now := range []time.Time{
		start,
		start.Add(999_999 * time.Microsecond), // the largest fractions of a second and a millisecond
		start.In(time.FixedZone("", 5*3600)),
		time.Unix(0, 0),
		time.Unix(-1, 0), // before what version 7 can hold, and a UUID all the same
	} {
		id := uuid.UUID(domain.NewTaskID(now))
		if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Errorf("%s, made at %s: version %d, variant %s", id, now, id.Version(), id.Variant())
		}
		millis := int64(binary.BigEndian.Uint64(id[:8]) >> 16)
		if want := now.UnixMilli(); want >= 0 && millis != want {
			t.Errorf("%s, made at %s: holds the millisecond %d, want %d", id, now, millis, want)
		}
	}
}

func TestNewTaskID_OrdersByTimeToTheMicrosecond(t *testing.T) {
	domain.SetIDCounter(3000)
	last := domain.NewTaskID(start)
	for i := range 3000 { // through every fraction of a millisecond, and into the next ones
		domain.SetIDCounter(uint32(2999 - i)) // the time decides, not the counter
		id := domain.NewTaskID(start.Add(time.Duration(i+1) * time.Microsecond))
		if bytes.Compare(last[:], id[:]) >= 0 {
			t.Fatalf("%s comes before %s, one microsecond older", id, last)
		}
		last = id
	}
}

func TestNewTaskID_OrdersWithinAMicrosecond(t *testing.T) {
	for _, from := range []uint32{0, 1<<24 - 100, 1<<31 - 100} { // where a narrower counter would start over
		domain.SetIDCounter(from)
		last := domain.NewTaskID(start)
		for range 1000 {
			id := domain.NewTaskID(start)
			if bytes.Compare(last[:], id[:]) >= 0 {
				t.Fatalf("%s comes before %s, made earlier", id, last)
			}
			last = id
		}
	}
}

// The layout as a client could read it: whatever the time and the counter, an id
// names shard 0, is of version 7, and comes after those that were made before it.
func TestNewTaskID_KeepsItsShardItsVersionAndItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain.SetIDCounter(rapid.Uint32Range(0, 1<<32-100).Draw(t, "counter"))
		now := start.Add(time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "since the start")))
		var last domain.TaskID
		for range rapid.IntRange(1, 50).Draw(t, "ids") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 1000, 999_999}).Draw(t, "later")))
			id := domain.NewTaskID(now)
			if shard := binary.BigEndian.Uint16(id[14:]) & (1<<10 - 1); shard != 0 || id.Shard() != 0 {
				t.Fatalf("%s names shard %d, reads as %d", id, shard, id.Shard())
			}
			if u := uuid.UUID(id); u.Version() != 7 || u.Variant() != uuid.RFC4122 || bytes.Compare(last[:], id[:]) >= 0 {
				t.Fatalf("%s: version %d, variant %s, after %s", id, u.Version(), u.Variant(), last)
			}
			last = id
		}
	})
}

// What keeps the ids of several processes apart, if their counters should agree.
func TestNewTaskID_HasTwentyRandomBits(t *testing.T) {
	var seen, unset uint64
	for range 200 {
		domain.SetIDCounter(0)
		id := domain.NewTaskID(start)
		low := binary.BigEndian.Uint64(id[8:])
		seen, unset = seen|low, unset|^low
	}
	if random := seen & unset; random != (1<<20-1)<<10 {
		t.Errorf("the bits that differ are %b, want the twenty above the shard", random)
	}
}

func TestTaskID_OfOthersIsInShardZero(t *testing.T) {
	for _, s := range []string{"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		if id, err := domain.ParseTaskID(s); err != nil || id.Shard() != 0 {
			t.Errorf("%s: shard %d, %v", s, id.Shard(), err)
		}
	}
}

func TestNewTaskID_IsUnique(t *testing.T) {
	const makers, each = 4, 250_000
	ids := make([]domain.TaskID, makers*each)
	done := make(chan struct{})
	for part := range slices.Chunk(ids, each) {
		go func() {
			for i := range part {
				part[i] = domain.NewTaskID(start) // one microsecond for all: the hardest case
			}
			done <- struct{}{}
		}()
	}
	for range makers {
		<-done
	}
	slices.SortFunc(ids, func(a, b domain.TaskID) int { return bytes.Compare(a[:], b[:]) })
	if unique := len(slices.Compact(ids)); unique != makers*each {
		t.Errorf("%d of %d ids are doubled", makers*each-unique, makers*each)
	}
}

func TestParseTaskID_TakesTheCanonicalSpellingOnly(t *testing.T) {
	id := domain.NewTaskID(start)
	canonical := id.String()
	for _, s := range []string{canonical, strings.ToUpper(canonical)} {
		if got, err := domain.ParseTaskID(s); err != nil || got != id {
			t.Errorf("ParseTaskID(%q) = %s, %v; want %s", s, got, err, id)
		}
	}
	const other = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" // version 1
	if got, err := domain.ParseTaskID(other); err != nil || got.String() != other {
		t.Errorf("ParseTaskID(%q) = %s, %v; any version is an id", other, got, err)
	}
	for _, s := range []string{
		"",
		"x",
		canonical[:35],
		canonical + "0",
		canonical + " ",
		" " + canonical[1:],
		"{" + canonical + "}",
		"urn:uuid:" + canonical,
		strings.ReplaceAll(canonical, "-", ""),
		strings.ReplaceAll(canonical, "-", "_"),
		canonical[:8] + canonical[9:13] + "--" + canonical[14:], // a dash astray
		canonical[:35] + "g",
		canonical[:34] + "é",
		canonical[:35] + "\x00",
		strings.Repeat("0", 36),
	} {
		_, err := domain.ParseTaskID(s)
		wantInvalid(t, err, "id")
	}
}

func TestParseTaskID_DoesNotEchoAllOfALongInput(t *testing.T) {
	_, err := domain.ParseTaskID(strings.Repeat("x", 1<<20))
	wantInvalid(t, err, "id")
	if len(err.Error()) > 200 {
		t.Errorf("the message is %d bytes long", len(err.Error()))
	}
}

func TestNewWorkerID_IsNewAtEveryStart(t *testing.T) {
	if a, b := domain.NewWorkerID(), domain.NewWorkerID(); a == b || a == "" || b == "" {
		t.Errorf("two starts are %q and %q", a, b)
	}
}
