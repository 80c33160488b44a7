// Command echo is the least that an HTTP service in Go can do with a task: it reads
// one on gorilla/mux and answers with as much as Millrace does. It stores nothing.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/mux"
)

// task is an answer of the size of Millrace's.
type task struct {
	ID          string `json:"id"`
	Message     string `json:"message"`
	Status      string `json:"status"`
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
	Attempt     int    `json:"attempt"`
	Failures    int    `json:"failures"`
	MaxAttempts int    `json:"max_attempts"`
	RunAt       string `json:"run_at"`
	Queue       string `json:"queue"`
	Priority    int    `json:"priority"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: echo ADDRESS")
		os.Exit(2)
	}
	const at = "2026-01-15T09:30:00.123456Z"
	answer := task{
		ID: "019b1c5f-8ee1-7b3b-8000-0001bf7319d3", Status: "pending", MaxAttempts: 25, Queue: "default",
		CreatedAt: at, UpdatedAt: at, RunAt: at,
	}
	routes := mux.NewRouter()
	routes.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	routes.HandleFunc("/tasks", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Message string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out := answer
		out.Message = in.Message
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(out) // a client that has gone hears nothing
	}).Methods(http.MethodPost)
	server := &http.Server{Addr: os.Args[1], Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
