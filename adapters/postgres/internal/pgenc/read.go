package pgenc

import (
	"encoding/binary"
	"time"
)

// ReadTime reads what timestamptz_send makes of a time: UTC. Infinity, which no time.Time
// is, comes to a year that is hundreds of thousands of years ago.
func ReadTime(b []byte) (_ time.Time, ok bool) {
	if len(b) != 8 {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b)) + epoch).UTC(), true
}
