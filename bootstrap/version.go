package bootstrap

import "runtime/debug"

// version is set by the linker: -X github.com/millrace/millrace/bootstrap.version=v1.2.3.
var version string

// Version is the version of this program.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
