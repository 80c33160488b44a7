package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// held is a stream that takes nothing until it is let go.
type held struct {
	free chan struct{}
	text strings.Builder
	err  error
}

func (h *held) Write(p []byte) (int, error) {
	<-h.free
	if h.err != nil {
		return 0, h.err
	}
	return h.text.Write(p)
}

func TestOutput_WritesEverythingInOrder(t *testing.T) {
	t.Parallel()
	var got, want strings.Builder
	out := NewOutput(&got)
	for i := range 10_000 {
		fmt.Fprintf(out, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	out.Close()
	if got.String() != want.String() {
		t.Errorf("%d bytes, not %d", got.Len(), want.Len())
	}
}

func TestOutput_DropsWhatNobodyReadsAndSaysHowMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &held{free: make(chan struct{})}
		out := NewOutput(to)
		log := NewLog(out, slog.LevelInfo, false)
		const tries = 200
		for range tries {
			log.Info(strings.Repeat("x", 10<<10))
		}
		synctest.Wait()
		close(to.free)
		synctest.Wait()
		out.Close()
		kept := strings.Count(to.text.String(), "xxxx\"")
		if kept < 90 || kept >= tries || !strings.Contains(to.text.String(), fmt.Sprintf(`"lines":%d`, tries-kept)) {
			t.Errorf("%d of %d lines are kept: %.300q", kept, tries, to.text.String()[to.text.Len()-300:])
		}
	})
}

func TestOutput_CountsWhatTheStreamRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &held{free: make(chan struct{}), err: errors.New("no space left")}
		close(to.free)
		out := NewOutput(to)
		log := NewLog(out, slog.LevelInfo, true)
		for range 3 {
			log.Info("refused")
			synctest.Wait()
		}
		to.err = nil
		log.Info("taken")
		synctest.Wait()
		out.Close()
		if text := to.text.String(); !strings.Contains(text, "taken") || strings.Contains(text, "msg=refused") || !strings.Contains(text, "lines=3") {
			t.Errorf("%q", text)
		}
	})
}

func TestOutput_CloseWaitsASecondAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &held{free: make(chan struct{})}
		out := NewOutput(to)
		_, _ = io.WriteString(out, "a line\n")
		begun := time.Now()
		out.Close()
		if took := time.Since(begun); took != outputPatience {
			t.Errorf("it took %s", took)
		}
		close(to.free)
		<-out.done
	})
}

// Package os ends the process when a write to descriptor 1 or 2 finds no reader.
func TestDetached_HasADescriptorOfItsOwn(t *testing.T) {
	t.Parallel()
	own, ok := detached(os.Stderr).(*os.File)
	if !ok || own == os.Stderr || own.Fd() <= 2 {
		t.Errorf("%v", own)
	}
	_ = own.Close()
}
