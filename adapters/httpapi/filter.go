package httpapi

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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
		return f, invalid.withErrors(wrong...)
	}
	return f, nil
}

// filterReader reads the members of a body's filter and notes what is wrong.
type filterReader struct{ wrong []domain.FieldError }

func (r *filterReader) refuse(field, detail string) {
	r.wrong = append(r.wrong, domain.FieldError{Field: "filter/" + field, Detail: detail})
}

// notEmpty refuses a member that is given and empty: it would mean everything, where
// a list was meant that has nothing in it.
func (r *filterReader) notEmpty(field string, given bool, n int) {
	if given && n == 0 {
		r.refuse(field, "must not be empty; omit the field instead")
	}
}

func (r *filterReader) inList(field string) func(int, error) {
	return func(i int, err error) { r.refuse(field+"/"+strconv.Itoa(i), detailOf(err)) }
}

func (r *filterReader) time(field string, in api.Field[time.Time]) time.Time {
	if in.Given && in.Value.IsZero() {
		r.refuse(field, errNoTime.Error())
	}
	return in.Value
}

// bodyFilter reads the filter of a bulk action, and names what is wrong with it.
func bodyFilter(in api.TaskFilter) (domain.TaskFilter, []domain.FieldError) {
	var r filterReader
	r.notEmpty("status", in.Status.Given, len(in.Status.Value))
	r.notEmpty("queue", in.Queue.Given, len(in.Queue.Value))
	r.notEmpty("metadata", in.Metadata.Given, len(in.Metadata.Value))
	r.notEmpty("text", in.Text.Given, len(in.Text.Value))
	f := domain.TaskFilter{
		Statuses:       namesOf(in.Status.Value, domain.ParseStatus, r.inList("status")),
		Queues:         namesOf(in.Queue.Value, domain.ParseQueueName, r.inList("queue")),
		CreatedFrom:    r.time("created_from", in.CreatedFrom),
		CreatedBefore:  r.time("created_before", in.CreatedBefore),
		FinishedFrom:   r.time("finished_from", in.FinishedFrom),
		FinishedBefore: r.time("finished_before", in.FinishedBefore),
		Metadata:       in.Metadata.Value,
		Text:           in.Text.Value,
	}
	return f, r.wrong
}

// filterToJSON shows a filter as bodyFilter reads it.
func filterToJSON(f domain.TaskFilter) api.TaskFilter {
	var out api.TaskFilter
	setList(&out.Status, f.Statuses)
	setList(&out.Queue, f.Queues)
	setTime(&out.CreatedFrom, f.CreatedFrom)
	setTime(&out.CreatedBefore, f.CreatedBefore)
	setTime(&out.FinishedFrom, f.FinishedFrom)
	setTime(&out.FinishedBefore, f.FinishedBefore)
	if len(f.Metadata) > 0 {
		out.Metadata = api.Of(f.Metadata)
	}
	if f.Text != "" {
		out.Text = api.Of(f.Text)
	}
	return out
}

func setList[T ~string](out *api.Field[[]string], names []T) {
	if len(names) > 0 {
		*out = api.Of(words(names))
	}
}

func setTime(out *api.Field[time.Time], t time.Time) {
	if !t.IsZero() {
		*out = api.Of(t)
	}
}

// filterQuery is the canonical form of a filter: the parameters that queryFilter
// reads, the same for equal filters.
func filterQuery(f domain.TaskFilter) url.Values {
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	setMoment := func(name string, t time.Time) {
		if !t.IsZero() {
			set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	set("status", strings.Join(words(f.Statuses), ","))
	set("queue", strings.Join(words(f.Queues), ","))
	setMoment("created_from", f.CreatedFrom)
	setMoment("created_before", f.CreatedBefore)
	setMoment("finished_from", f.FinishedFrom)
	setMoment("finished_before", f.FinishedBefore)
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

// errNoTime: the zero time of a program that has no time must not become a filter
// that lets everything through.
var errNoTime = errors.New("must not be 0001-01-01T00:00:00Z, which stands for no time")

func timeOf(text *string, wrong func(int, error)) time.Time {
	if text == nil {
		return time.Time{}
	}
	t, err := api.ParseTime(*text)
	switch {
	case err != nil:
		wrong(0, err)
	case t.IsZero():
		wrong(0, errNoTime)
	}
	return t
}

// pairsOf reads pairs of a key and a value. No task has two values for one key.
func pairsOf(pairs []string, wrong func(int, error)) map[string]string {
	all := make(map[string]string, len(pairs))
	for i, pair := range pairs {
		key, value, ok := strings.Cut(pair, ":")
		before, doubled := all[key]
		switch {
		case !ok:
			wrong(i, domain.Invalid("metadata", "must be key:value, not %s", domain.Quoted(pair)))
		case doubled && before != value:
			wrong(i, domain.Invalid("metadata", "has two different values for key %s", domain.Quoted(key)))
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

// nonZero points to v, or is nil for the zero value.
func nonZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// detailOf is what is wrong, without the name of the field, which the caller knows.
func detailOf(err error) string {
	if fields := domain.Public(err).Fields; len(fields) > 0 {
		return fields[0].Detail
	}
	return err.Error()
}
