package domain

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// TaskID names a task: a UUID of version 7 (RFC 9562), so ids sort by creation.
type TaskID uuid.UUID

// WorkerID names one life of a worker process. It is new at every start, never
// derived from a host, so that a restarted worker cannot be taken for its predecessor.
type WorkerID string

// idCounter orders the ids that one process makes within one microsecond. It
// starts at random, so that processes do not count in step, and in its lower
// half, so that it is two billion ids away from starting over.
var idCounter atomic.Uint32

func init() { idCounter.Store(mathrand.Uint32() >> 1) }

// The lowest bits of an id that NewTaskID makes name the shard of its task. There
// is one store, so they are zero and never anything else until there are more.
const (
	shardBits = 10
	onlyShard = 0
)

// chanceBits are what is left of rand_b beside the variant, the counter and the shard.
const chanceBits = 62 - 32 - shardBits

// NewTaskID makes the id of a task created at now. Within a process, ids made
// one after the other for the same or later times are in that order.
//
// RFC 9562, section 5.7: 48 bits of milliseconds, then rand_a and rand_b. Here
// rand_a is the fraction of the millisecond (section 6.2, method 3), and rand_b
// is a 32-bit counter (method 1), 20 bits of chance and 10 of the shard.
func NewTaskID(now time.Time) TaskID {
	micros := uint64(now.UnixMicro())
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[0:8], micros/1000<<16|0x7000|micros%1000*4096/1000)
	rand.Read(id[8:16]) // crypto/rand: never fails, it ends the program instead
	chance := binary.BigEndian.Uint64(id[8:16]) & (1<<chanceBits - 1)
	count := uint64(idCounter.Add(1))
	binary.BigEndian.PutUint64(id[8:16], 0b10<<62|count<<(chanceBits+shardBits)|chance<<shardBits|onlyShard)
	return TaskID(id)
}

// Damaged says that no program has stored the task as it is.
func (id TaskID) Damaged(wrong string) *Error { return Damaged("task "+id.String(), wrong) }

// Shard is the shard that the task is in: 0 for every id, whoever made it. What an
// id says must not be decoded while there are ids whose lowest bits are random: those
// of clients' own making, and those made before the bits had a meaning.
func (id TaskID) Shard() int { return onlyShard }

// FirstID is below every id that NewTaskID makes within t's millisecond or later,
// and above those of earlier ones. A time that no id of version 7 can tell, before
// 1970 or after 10889, gives the first or the last of all ids.
func FirstID(t time.Time) (id TaskID) {
	const last = 1<<48 - 1 // the 48 bits of milliseconds
	millis := t.UnixMilli()
	if millis > last {
		return TaskID(uuid.Max)
	}
	binary.BigEndian.PutUint64(id[:8], uint64(max(millis, 0))<<16)
	return id
}

// ParseTaskID reads the canonical spelling of a UUID, in either case; any
// version, as older tasks may have been made elsewhere. Otherwise CodeInvalid.
func ParseTaskID(s string) (TaskID, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 { // uuid.Parse also takes braces, urn: and bare digits
		return TaskID{}, Invalid("id", "%s is not a UUID", Quoted(s))
	}
	return TaskID(id), nil
}

// NewWorkerID makes an identity for one start of a worker.
func NewWorkerID() WorkerID { return WorkerID(uuid.NewString()) }

// String returns the canonical spelling.
func (id TaskID) String() string { return uuid.UUID(id).String() }
