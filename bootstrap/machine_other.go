//go:build !linux

package bootstrap

func limitsOfMachine() machineLimits { return machineLimits{unlimited, unlimited} }
