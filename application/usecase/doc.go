// Package usecase is what the API does, one type with a Run method each. It says in
// which order things happen and what a crash in between leaves behind. It knows
// nothing of workers and of the dispatcher.
package usecase
