// Package chaos runs Millrace as processes under load, breaks everything that it
// stands on, and checks that nothing was lost, doubled or told wrong.
package chaos

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

var (
	seedFlag     = flag.Uint64("chaos.seed", 0, "draws the schedule of faults; 0: any")
	durationFlag = flag.Duration("chaos.duration", 30*time.Second, "how long faults are begun")
	onlyFlag     = flag.String("chaos.only", "", "a regular expression: only faults whose names match it; empty: all")
	reportFlag   = flag.String("chaos.report", "", "the file that the report is written to as JSON; relative to the package's folder")
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m)) }
