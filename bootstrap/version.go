package bootstrap

import "runtime/debug"

// version is set by the linker: -X github.com/millrace/millrace/bootstrap.version=v1.2.3.
var version string

// Version says which Millrace this is.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
