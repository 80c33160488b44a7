package api

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseWhole_TakesWhatIsWholeHoweverItIsWritten(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "-0": 0, "0.0": 0, "0e99999999999": 0, "-0.000e-5": 0, "7": 7, "-7": -7, "1.0": 1, "1.000000000000000000000000": 1, "-3.00": -3,
		"1e3": 1000, "1E+3": 1000, "1.5e1": 15, "120e-1": 12, "1.20e1": 12, "10.0e-1": 1, "100": 100, "1e18": 1e18,
		"9223372036854775807": math.MaxInt64, "9223372036854775807.0": math.MaxInt64, "-9223372036854775808.0": math.MinInt64,
	} {
		if got, err := parseWhole(text); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"1.5": strconv.ErrSyntax, "1.00000000000000000000000001": strconv.ErrSyntax, "1e-1": strconv.ErrSyntax, "1e-99999999999": strconv.ErrSyntax,
		"15e-1": strconv.ErrSyntax, "1" + strings.Repeat("0", 100): strconv.ErrRange, "1e19": strconv.ErrRange, "1e99999999999": strconv.ErrRange,
		"9223372036854775808.0": strconv.ErrRange, "-9223372036854775809.0": strconv.ErrRange,
	} {
		if got, err := parseWhole(text); !errors.Is(err, want) {
			t.Errorf("%.40s: %d, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseTime_TakesWhatRFC3339Allows(t *testing.T) {
	want := time.Date(2026, 1, 15, 9, 30, 0, 500_000_000, time.UTC)
	for _, text := range []string{"2026-01-15T09:30:00.5Z", "2026-01-15t09:30:00.5z", "2026-01-15T09:30:00.50z", "2026-01-15t10:30:00.5+01:00"} {
		if got, err := ParseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"2026-01-15 09:30:00Z": errNotATime, "2026-01-15T09:30:00": errNotATime, "2026-01-15T09:30:00,5Z": errNotATime,
		"2026-02-30T09:30:00Z": errNotATime, "2026-01-15T24:00:00Z": errNotATime, "2026-01-15T09:30:61Z": errNotATime,
		"2026-12-31T23:59:60Z": errLeapSecond, "2026-12-31t23:59:60.5z": errLeapSecond, "2027-01-01T00:59:60+01:00": errLeapSecond,
		"2026-02-30T23:59:60Z": errNotATime,
	} {
		if got, err := ParseTime(text); !errors.Is(err, want) {
			t.Errorf("%s: %s, %v; want %v", text, got, err, want)
		}
	}
}
