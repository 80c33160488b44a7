package bootstrap

import (
	"regexp"
	"slices"
	"strings"
)

// programVariables are what every program gets of the worker's environment: where it
// is, who runs it, and how it speaks. Proxies are not among them, as their URLs hold
// passwords. A name may end with *.
var programVariables = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR", "TMPDIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// outsideSecrets are variables that the libraries for Millrace's servers read.
var outsideSecrets = []string{"PGPASSWORD"}

// ownVariables are what no program gets, whatever HANDLER_ENV says: the settings of
// Millrace, any of which may hold a password. Those of OpenTelemetry are not Millrace's
// own: a program may have traces, too.
func ownVariables() []string {
	return slices.DeleteFunc(slices.Concat(outsideSecrets, settingNames()), func(name string) bool { return strings.HasPrefix(name, "OTEL_") })
}

// variableName matches the name of a variable, or the beginning of one and *.
var variableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\*?|\*)$`)

// handlerEnv are the names in HANDLER_ENV.
func (c WorkConfig) handlerEnv() []string {
	return strings.FieldsFunc(c.HandlerEnv, func(r rune) bool { return r == ',' || r == ' ' })
}

func (c WorkConfig) checkHandlerEnv() error {
	for _, name := range c.handlerEnv() {
		if !variableName.MatchString(name) || slices.Contains(ownVariables(), name) {
			return &SettingError{"HANDLER_ENV", c.HandlerEnv, "names of variables that are no settings of Millrace, separated by commas; a name may end with *"}
		}
	}
	return nil
}

// programEnv is the environment of a program that handles tasks.
func (c WorkConfig) programEnv(environ []string) []string {
	allowed, own := slices.Concat(programVariables, c.handlerEnv()), ownVariables()
	return slices.DeleteFunc(slices.Clone(environ), func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return slices.Contains(own, name) || !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, name) })
	})
}

// matches reports whether the name is the pattern's, which may end with *.
func matches(pattern, name string) bool {
	begin, open := strings.CutSuffix(pattern, "*")
	return name == pattern || open && strings.HasPrefix(name, begin)
}
