package httpapi

import (
	"errors"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// queryFilter reads the filter of a list from its parameters.
func queryFilter(params api.ListTasksParams) (domain.TaskFilter, error) {
	var wrong []api.ProblemError
	named := func(name string) func(int, error) {
		return func(_ int, err error) {
			wrong = append(wrong, wrongParameter(name, detailOf(err)))
		}
	}
	f := domain.TaskFilter{
		Statuses:       namesOf(splitCommas(params.Status), domain.ParseStatus, named("status")),
		Queues:         namesOf(splitCommas(params.Queue), domain.ParseQueueName, named("queue")),
		CreatedFrom:    timeOf(params.CreatedFrom, named("created_from")),
		CreatedBefore:  timeOf(params.CreatedBefore, named("created_before")),
		FinishedFrom:   timeOf(params.FinishedFrom, named("finished_from")),
		FinishedBefore: timeOf(params.FinishedBefore, named("finished_before")),
	}
	if params.Metadata != nil {
		f.Metadata = pairsOf(*params.Metadata, named("metadata"))
	}
	if params.Text != nil {
		f.Text = *params.Text
	}
	if len(wrong) > 0 {
		return f, invalid.with(wrong...)
	}
	return f, nil
}

// bodyFilter reads the filter of a bulk action. Nothing in it may be empty: that
// would mean everything, where a list was meant that has nothing in it.
func bodyFilter(in api.TaskFilter) (domain.TaskFilter, []api.ProblemError) {
	var wrong []api.ProblemError
	at := func(name string) jsontext.Pointer { return jsontext.Pointer("/filter").AppendToken(name) }
	named := func(name string) func(int, error) {
		return func(i int, err error) {
			wrong = append(wrong, wrongField(at(name).AppendToken(strconv.Itoa(i)), detailOf(err)))
		}
	}
	notEmpty := func(name string, n int) {
		if n == 0 {
			wrong = append(wrong, wrongField(at(name), "must not be empty: what does not matter is left out"))
		}
	}
	moment := func(name string, t *time.Time) time.Time {
		if t != nil && t.IsZero() {
			wrong = append(wrong, wrongField(at(name), errNoTime.Error()))
		}
		return orZero(t)
	}
	f := domain.TaskFilter{
		CreatedFrom:    moment("created_from", in.CreatedFrom),
		CreatedBefore:  moment("created_before", in.CreatedBefore),
		FinishedFrom:   moment("finished_from", in.FinishedFrom),
		FinishedBefore: moment("finished_before", in.FinishedBefore),
		Text:           orZero(in.Text),
	}
	if in.Status != nil {
		notEmpty("status", len(*in.Status))
		f.Statuses = namesOf(*in.Status, domain.ParseStatus, named("status"))
	}
	if in.Queue != nil {
		notEmpty("queue", len(*in.Queue))
		f.Queues = namesOf(*in.Queue, domain.ParseQueueName, named("queue"))
	}
	if in.Metadata != nil {
		notEmpty("metadata", len(*in.Metadata))
		f.Metadata = *in.Metadata
	}
	if in.Text != nil {
		notEmpty("text", len(*in.Text))
	}
	return f, wrong
}

// filterToJSON shows a filter as bodyFilter reads it.
func filterToJSON(f domain.TaskFilter) api.TaskFilter {
	names := func(list []string) *[]string {
		if len(list) == 0 {
			return nil
		}
		return &list
	}
	out := api.TaskFilter{
		Status:         names(words(f.Statuses)),
		Queue:          names(words(f.Queues)),
		CreatedFrom:    given(f.CreatedFrom),
		CreatedBefore:  given(f.CreatedBefore),
		FinishedFrom:   given(f.FinishedFrom),
		FinishedBefore: given(f.FinishedBefore),
		Text:           given(f.Text),
	}
	if len(f.Metadata) > 0 {
		out.Metadata = &f.Metadata
	}
	return out
}

// filterQuery is the filter as the parameters that queryFilter reads, always in
// the same way.
func filterQuery(f domain.TaskFilter) url.Values {
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	setTime := func(name string, t time.Time) {
		if !t.IsZero() {
			set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	set("status", strings.Join(words(f.Statuses), ","))
	set("queue", strings.Join(words(f.Queues), ","))
	setTime("created_from", f.CreatedFrom)
	setTime("created_before", f.CreatedBefore)
	setTime("finished_from", f.FinishedFrom)
	setTime("finished_before", f.FinishedBefore)
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		query.Add("metadata", key+":"+f.Metadata[key])
	}
	set("text", f.Text)
	return query
}

// namesOf reads the names as a set, in order.
func namesOf[T ~string](names []string, parse func(string) (T, error), wrong func(i int, err error)) []T {
	var set []T
	for i, name := range names {
		v, err := parse(name)
		if err != nil {
			wrong(i, err)
			continue
		}
		set = append(set, v)
	}
	slices.Sort(set)
	return slices.Compact(set)
}

var errNotATime = errors.New("must be a time as in RFC 3339, such as 2026-01-15T09:30:00Z")

// errNoTime: what a program sends that has no time must not become a filter that
// lets everything through.
var errNoTime = errors.New("must not be 0001-01-01T00:00:00Z, which stands for no time")

// rfc3339 is the grammar of RFC 3339, section 5.6: time.Parse takes more than that.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`)

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !rfc3339.MatchString(text) {
		return time.Time{}, errNotATime
	}
	return t, nil
}

func timeOf(text *string, wrong func(int, error)) time.Time {
	if text == nil {
		return time.Time{}
	}
	t, err := parseTime(*text)
	switch {
	case err != nil:
		wrong(0, err)
	case t.IsZero():
		wrong(0, errNoTime)
	}
	return t
}

// pairsOf reads pairs of a key and a value. No task has two values of one key.
func pairsOf(pairs []string, wrong func(int, error)) map[string]string {
	all := make(map[string]string, len(pairs))
	for i, pair := range pairs {
		key, value, ok := strings.Cut(pair, ":")
		before, doubled := all[key]
		switch {
		case !ok:
			wrong(i, domain.Invalid("metadata", "must be key:value, not %.80q", pair))
		case doubled && before != value:
			wrong(i, domain.Invalid("metadata", "has two values of %.80q, which no task has", key))
		}
		all[key] = value
	}
	return all
}

func splitCommas(lists *[]string) []string {
	if lists == nil {
		return nil
	}
	return strings.Split(strings.Join(*lists, ","), ",")
}

func words[T ~string](names []T) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = string(name)
	}
	return list
}

// orZero is what was given, or else zero.
func orZero[T any](v *T) T {
	if v == nil {
		var zero T
		return zero
	}
	return *v
}

// given is nil for what was not given.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// detailOf is what is wrong, without the name of the field: the caller knows better.
func detailOf(err error) string {
	if fields := domain.Public(err).Fields; len(fields) > 0 {
		return fields[0].Detail
	}
	return err.Error()
}
