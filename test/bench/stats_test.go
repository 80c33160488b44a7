package main

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
)

func TestSpreadOf_IsTheMedianAndTheEnds(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
		text   string
	}{
		{[]float64{5}, spread{5, 5, 5}, "5.00"},
		{[]float64{3, 1, 2}, spread{2, 1, 3}, "2.00 (1.00–3.00)"},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}, "2.50 (1.00–4.00)"},
		{[]float64{21_000, 19_500, 20_000}, spread{20_000, 19_500, 21_000}, "20.0 k (19.5 k–21.0 k)"},
	} {
		values := append([]float64(nil), c.values...)
		if got := spreadOf(c.values); got != c.want || got.String() != c.text {
			t.Errorf("of %v: %v %q, want %v %q", c.values, got, got, c.want, c.text)
		}
		if !cmp.Equal(values, c.values) {
			t.Errorf("%v became %v", values, c.values)
		}
	}
	if got := spreadOf(nil); !math.IsNaN(got.median) || got.String() != "–" {
		t.Errorf("of nothing: %v", got)
	}
}

func TestShort_HasThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0123: "0.012", 0.00031: "0.0003", 0.5: "0.500", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 999: "999",
		9994: "9994", 9996: "10.0 k", 123_456: "123 k", 999_499: "999 k", 999_600: "1.00 M", 2e6: "2.00 M", -0.5: "-0.500",
	} {
		if got := short(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestSeries_ComparesRunByRun(t *testing.T) {
	s := series{
		"ours":  {{"rate": 10, "cpu a": 1, "cpu b": 2}, {"rate": 30, "cpu a": 3}, {"rate": 20}},
		"other": {{"rate": 5}, {"rate": 10}},
	}
	if got, want := s.ratio("ours", "other", "rate"), []float64{2, 3}; !cmp.Equal(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
	if got, want := s.total("ours", "cpu "), []float64{3, 3, 0}; !cmp.Equal(got, want) {
		t.Errorf("totals %v, want %v", got, want)
	}
	if got, want := greatest(s.of("ours", "rate"), s.of("other", "rate")), []float64{10, 30}; !cmp.Equal(got, want) {
		t.Errorf("greatest %v, want %v", got, want)
	}
	if got := s.ratio("ours", "nobody", "rate"); len(got) != 0 {
		t.Errorf("ratios to nobody: %v", got)
	}
	if got, want := s.metrics("cpu "), []string{"cpu a", "cpu b"}; !cmp.Equal(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

func TestVerdict_HoldsTheMedianAgainstWhatIsWanted(t *testing.T) {
	two := []float64{1, 2, 9}
	for name, c := range map[string]struct {
		got verdict
		met bool
	}{
		"at least, equal": {atLeast("", two, 2), true},
		"at least, less":  {atLeast("", two, 2.1), false},
		"at most, equal":  {atMost("", two, 2), true},
		"at most, more":   {atMost("", two, 1.9), false},
		"below, equal":    {below("", two, 2), false},
		"below, less":     {below("", two, 2.1), true},
		"above, equal":    {above("", two, 2), false},
		"above, more":     {above("", two, 1.9), true},
		"never measured":  {atMost("", nil, 2), false},
		"without bounds":  {atLeast("", nil, 2), false},
	} {
		if c.got.Met != c.met {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
	if got, want := atLeast("rate / pgbench", two, 1.3), (verdict{"rate / pgbench", "≥ 1.3", "2.00 (1.00–9.00)", true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSlope_IsThatOfTheLine(t *testing.T) {
	if got := slope([]float64{1, 2, 3, 4}, []float64{7, 9, 11, 13}); math.Abs(got-2) > 1e-9 {
		t.Errorf("%v, want 2", got)
	}
	if got := slope([]float64{0, 1, 2, 3}, []float64{1, -1, -1, 1}); math.Abs(got) > 1e-9 {
		t.Errorf("%v, want 0", got)
	}
}

func TestReading_MergesProcessesOfOneName(t *testing.T) {
	r := reading{"cpu worker 1": 1, "cpu worker 2": 2, "cpu workers": 4}
	r.merge("cpu worker")
	if want := (reading{"cpu worker": 3, "cpu workers": 4}); !cmp.Equal(r, want) {
		t.Errorf("%v, want %v", r, want)
	}
}

func TestWaited_ReadsTheWorkersLog(t *testing.T) {
	from := time.Unix(1_800_000_000, 0).UTC()
	line := func(sent, started time.Time) string {
		return fmt.Sprintf(`{"time":%q,"level":"INFO","msg":"task","task":"1","message":"%d xxx"}`+"\n", started.Format(time.RFC3339Nano), sent.UnixNano())
	}
	log := line(from.Add(-time.Second), from) + "not JSON\n" + `{"msg":"worker started"}` + "\n" +
		line(from, from.Add(1500*time.Microsecond)) + line(from.Add(time.Second), from.Add(time.Second+4*time.Millisecond))
	if got, want := waited(log, from), []float64{1.5, 4}; !cmp.Equal(got, want, cmpopts.EquateApprox(0, 1e-6)) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestPercentile_IsAmongTheValues(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for share, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := percentile(values, share); got != want {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
}

func TestOlder_MovesTheTimeOfAnId(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	sec, nsec := id.Time().UnixTime()
	at := time.Unix(sec, nsec)
	old := older(id, 24*time.Hour)
	sec, nsec = old.Time().UnixTime()
	if moved := at.Sub(time.Unix(sec, nsec)); moved != 24*time.Hour {
		t.Errorf("moved by %s", moved)
	}
	if old.Version() != 7 || !bytes.Equal(old[6:], id[6:]) {
		t.Errorf("%s became %s", id, old)
	}
	if got := older(id, -time.Second); got != id {
		t.Errorf("of a time to come: %s, want %s", got, id)
	}
}
