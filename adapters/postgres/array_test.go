package postgres

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/millrace/millrace/domain"
)

var hostile = []string{
	"", " ", "NULL", "null", `"`, `\`, `\\"`, "{}", "{a,b}", ",", "'", "''; DROP TABLE tasks; --", "a\nb\r\tc", "é", "😀", "\x7f", "$1",
	strings.Repeat(`"\{},`, 1000),
}

func TestArrays_ComeBackAsTheyWereSent(t *testing.T) {
	db := open(t, Config{})
	id := uuid.New()
	for query, c := range map[string]struct{ sent, want any }{
		"SELECT to_json($1::text[])":        {textsOf(hostile), hostile},
		"SELECT to_json($1::text[]) ":       {textsOf([]domain.Status{}), []string{}},
		"SELECT to_json($1::uuid[])":        {uuidsOf([]domain.TaskID{domain.TaskID(id), {}}), []string{id.String(), uuid.Nil.String()}},
		"SELECT to_json($1::bigint[])":      {typeInt.array([]int64{0, -1, math.MaxInt64, math.MinInt64}), []int64{0, -1, math.MaxInt64, math.MinInt64}},
		"SELECT to_json($1::bool[])":        {typeBool.array([]bool{true, false}), []bool{true, false}},
		"SELECT to_json($1::text[])  ":      {typeTextOrNull.array([]string{"", "a"}), []any{nil, "a"}},
		"SELECT to_json($1::bigint[]) ":     {typeIntOrNull.array([]int64{0, 7}), []any{nil, 7}},
		"SELECT to_json($1::bytea[]::text)": {typeBytes.array([][]byte{{0, 255}, {}}), `{"\\x00ff","\\x"}`},
		"SELECT to_json($1::jsonb[])":       {typePairs.array([]map[string]string{{"a": `"'\`}, nil}), []any{map[string]string{"a": `"'\`}, nil}},
	} {
		var got string
		if err := db.x.Get(&got, query, c.sent); err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		want, _ := json.Marshal(c.want)
		var gotValue, wantValue any
		if json.Unmarshal([]byte(got), &gotValue) != nil || json.Unmarshal(want, &wantValue) != nil {
			t.Fatalf("%s = %s", query, got)
		}
		if diff := cmp.Diff(wantValue, gotValue); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestArrays_OfTimesAreWhatTheDriverWouldSend(t *testing.T) {
	db := open(t, Config{})
	times := []time.Time{
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(1999, 12, 31, 23, 59, 59, 999_999_000, time.FixedZone("", -7200)), time.Date(9999, 12, 31, 0, 0, 0, 1000, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Now(),
	}
	texts := make([]string, len(times))
	for i, at := range times {
		texts[i] = string(pq.FormatTimestamp(domain.Moment(at)))
	}
	var same bool
	if err := db.x.Get(&same, "SELECT $1::timestamptz[] = $2::timestamptz[]", typeTime.array(times), pq.Array(texts)); err != nil || !same {
		t.Errorf("the times are others, %v", err)
	}
	if err := db.x.Get(&same, "SELECT ($1::timestamptz[])[1] IS NULL", typeTimeOrNull.array([]time.Time{{}})); err != nil || !same {
		t.Errorf("the zero time is not NULL, %v", err)
	}
}

// What is the same in all tasks is sent once, which must make no difference.
func TestAdd_StoresEveryColumnOfEveryTask(t *testing.T) {
	repository := NewTaskRepository(migrated(t, Config{}))
	specs := []domain.TaskSpec{
		{Message: "m", MaxAttempts: 1},
		{Message: "m", MaxAttempts: 1},
		{Message: "n", MaxAttempts: 2, Queue: "q", Priority: 3, Timeout: time.Second, Delay: time.Hour, Metadata: map[string]string{"k": "v"},
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{Message: "n", MaxAttempts: 2, Queue: "q", Priority: 3, Timeout: time.Second, Delay: time.Hour, Metadata: map[string]string{"k": "w"}},
	}
	for _, text := range hostile[1:] {
		specs = append(specs, domain.TaskSpec{Message: text, MaxAttempts: 1})
	}
	for n := range specs {
		var tasks []*domain.Task
		for _, spec := range slices.Concat(specs[n:], specs[:n])[:1+n%len(specs)] { // one, two, … of them, of each kind
			task, err := domain.NewTask(spec, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, task)
		}
		if err := repository.Add(t.Context(), tasks...); err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			got, err := repository.Get(t.Context(), task.ID())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(task.State(), got.State()); diff != "" {
				t.Errorf("task of %d (-sent +stored):\n%s", len(tasks), diff)
			}
		}
	}
}
