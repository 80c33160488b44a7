package pgenc

import (
	"database/sql"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/millrace/millrace/test/services"
)

var hostile = []string{
	"", " ", "NULL", "null", `"`, `\`, `\\"`, "{}", "{a,b}", ",", "'", "''; DROP TABLE tasks; --", "a\nb\r\tc", "é", "😀", "\x7f", "$1",
	strings.Repeat(`"\{},`, 1000),
}

// connect opens a new database in the mode that this package encodes for.
func connect(t *testing.T) *sqlx.DB {
	t.Helper()
	cfg, err := pq.NewConfig(services.PostgreSQL(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.BinaryParameters = true
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestArrays_ComeBackAsTheyWereSent(t *testing.T) {
	db := connect(t)
	id := uuid.New()
	for query, c := range map[string]struct{ sent, want any }{
		"SELECT to_json($1::text[])":        {Texts(hostile), hostile},
		"SELECT to_json($1::text[]) ":       {Texts([]string{}), []string{}},
		"SELECT to_json($1::uuid[])":        {UUIDs([]uuid.UUID{id, {}}), []string{id.String(), uuid.Nil.String()}},
		"SELECT to_json($1::bigint[])":      {Int.Array([]int64{0, -1, math.MaxInt64, math.MinInt64}), []int64{0, -1, math.MaxInt64, math.MinInt64}},
		"SELECT to_json($1::bool[])":        {Bool.Array([]bool{true, false}), []bool{true, false}},
		"SELECT to_json($1::text[])  ":      {TextOrNull.Array([]string{"", "a"}), []any{nil, "a"}},
		"SELECT to_json($1::bigint[]) ":     {IntOrNull.Array([]int64{0, 7}), []any{nil, 7}},
		"SELECT to_json($1::bytea[]::text)": {Bytes.Array([][]byte{{0, 255}, {}}), `{"\\x00ff","\\x"}`},
		"SELECT to_json($1::jsonb[])":       {PairsOrNull.Array([]map[string]string{{"a": `"'\`}, nil}), []any{map[string]string{"a": `"'\`}, nil}},
	} {
		var got string
		if err := db.Get(&got, query, c.sent); err != nil {
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
	db := connect(t)
	times := []time.Time{
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(1999, 12, 31, 23, 59, 59, 999_999_000, time.FixedZone("", -7200)), time.Date(9999, 12, 31, 0, 0, 0, 1000, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Now(),
	}
	texts := make([]string, len(times))
	for i, at := range times {
		texts[i] = string(pq.FormatTimestamp(at.UTC().Truncate(time.Microsecond)))
	}
	var same bool
	if err := db.Get(&same, "SELECT $1::timestamptz[] = $2::timestamptz[]", Time.Array(times), pq.Array(texts)); err != nil || !same {
		t.Errorf("the times are others, %v", err)
	}
	if err := db.Get(&same, "SELECT ($1::timestamptz[])[1] IS NULL", TimeOrNull.Array([]time.Time{{}})); err != nil || !same {
		t.Errorf("the zero time is not NULL, %v", err)
	}
}

func TestReadTime_IsWhatWasStored(t *testing.T) {
	db := connect(t)
	for _, want := range []time.Time{
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(9999, 12, 31, 0, 0, 0, 1000, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		var sent []byte
		if err := db.Get(&sent, "SELECT timestamptz_send($1::timestamptz)", want); err != nil {
			t.Fatal(err)
		}
		if got, ok := ReadTime(sent); !ok || !got.Equal(want) {
			t.Errorf("%s came back as %s", want, got)
		}
	}
	for _, infinity := range []string{"infinity", "-infinity"} {
		var sent []byte
		if err := db.Get(&sent, "SELECT timestamptz_send($1::timestamptz)", infinity); err != nil {
			t.Fatal(err)
		}
		if got, ok := ReadTime(sent); !ok || got.Year() > -100_000 {
			t.Errorf("%s came back as %s", infinity, got)
		}
	}
	if got, ok := ReadTime([]byte("no time")); ok {
		t.Errorf("a time of seven bytes: %s", got)
	}
}

// An array that grows while it is made leaves several times its length behind.
func TestArrays_OfLongTextsAreMadeInOnePiece(t *testing.T) {
	const n, length = 16, 256 << 10
	texts := make([]string, n)
	for i := range texts {
		texts[i] = strings.Repeat("x", length)
	}
	column := PerRow(ColumnOf("message", Text, func(s *string) string { return *s }))
	arg, _ := column.of(texts)
	for name, array := range map[string][]byte{"a column": arg, "an array": Text.Array(texts)} {
		if want := 20 + n*24 + n*length; cap(array) != want || len(array) > want {
			t.Errorf("%s of %d bytes takes %d, want %d", name, len(array), cap(array), want)
		}
	}
}
