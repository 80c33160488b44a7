package bootstrap

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caarlos0/env/v11"
)

// SettingError is a setting with a wrong value. Its text is one line that names the
// variable, the value (unless it is secret) and what is allowed.
type SettingError struct {
	Name, Value, Allowed string
}

// Error returns the line.
func (e *SettingError) Error() string {
	return fmt.Sprintf("%s=%s: must be %s", e.Name, strconv.Quote(e.Value), e.Allowed)
}

// hidden stands for the value of a secret.
const hidden = "(hidden)"

// setting is one variable of a program, as the tags of its struct field describe it:
// env, envDefault; help: its meaning; allowed: its values, where the type and the bounds
// do not say; min, max: bounds of a number or a duration; secret.
type setting struct {
	name, value, help, allowed string
	min, max                   string
	secret                     bool
	field                      string
	current                    reflect.Value
}

// load reads settings of type T from the environment, which is given as
// NAME=value lines. The first setting that is wrong is returned as a *SettingError.
func load[T any](environ []string) (T, error) {
	vars := env.ToMap(environ)
	for name, value := range vars {
		if value == "" { // as a compose file passes what its user has not set
			delete(vars, name)
		}
	}
	var cfg T
	err := env.ParseWithOptions(&cfg, env.Options{Environment: vars})
	for _, s := range settingsOf(reflect.ValueOf(&cfg).Elem()) {
		value, set := vars[s.name]
		if !set {
			value = s.value
		}
		if failed(err, s.field) || !s.inBounds() {
			if s.secret {
				value = hidden
			}
			return cfg, &SettingError{Name: s.name, Value: value, Allowed: s.allows()}
		}
	}
	return cfg, err
}

// describe lists the settings of type T for a program's help.
func describe[T any]() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  NAME\tDEFAULT\tMEANING")
	var cfg T
	for _, s := range settingsOf(reflect.ValueOf(&cfg).Elem()) {
		value := s.value
		if value == "" {
			value = "(none)"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.name, value, s.help)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

func settingsOf(cfg reflect.Value) []setting {
	var all []setting
	for i := range cfg.NumField() {
		field := cfg.Type().Field(i)
		name, ok := field.Tag.Lookup("env")
		if !ok {
			if field.Anonymous {
				all = append(all, settingsOf(cfg.Field(i))...)
			}
			continue
		}
		all = append(all, setting{
			name: name, value: field.Tag.Get("envDefault"), help: field.Tag.Get("help"), allowed: field.Tag.Get("allowed"),
			min: field.Tag.Get("min"), max: field.Tag.Get("max"), secret: field.Tag.Get("secret") != "",
			field: field.Name, current: cfg.Field(i),
		})
	}
	return all
}

// failed reports whether the field could not be parsed.
func failed(err error, field string) bool {
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return false
	}
	for _, err := range all.Errors {
		if e, ok := errors.AsType[env.ParseError](err); ok && e.Name == field {
			return true
		}
	}
	return false
}

func (s setting) inBounds() bool {
	if s.min == "" {
		return true
	}
	switch v := s.current.Interface().(type) {
	case int:
		low, _ := strconv.Atoi(s.min)
		high, _ := strconv.Atoi(s.max)
		return v >= low && v <= high
	case time.Duration:
		low, _ := time.ParseDuration(s.min)
		high, _ := time.ParseDuration(s.max)
		return v >= low && v <= high
	}
	return false
}

func (s setting) allows() string {
	if s.allowed != "" {
		return s.allowed
	}
	switch s.current.Interface().(type) {
	case bool:
		return "true or false"
	case time.Duration:
		return fmt.Sprintf("a duration such as 500ms, 20s or 1h30m, from %s to %s", s.min, s.max)
	case int:
		return fmt.Sprintf("a whole number from %s to %s", s.min, s.max)
	}
	return "something else"
}
