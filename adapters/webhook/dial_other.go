//go:build !linux

package webhook

import "syscall"

// limitUnacked does nothing: only Linux has TCP_USER_TIMEOUT. Config.Timeout holds anyway.
func limitUnacked(_, _ string, _ syscall.RawConn) error { return nil }
