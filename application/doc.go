// Package application declares the ports that Millrace needs, one file for each
// of their users, and the value types that pass through them.
//
// What uses the ports is in the packages below it, which do not import one
// another: usecase is what the API does, worker what a worker does, dispatch what
// every worker does for all of them. They know the domain and the ports, and
// nothing of SQL, Redis, HTTP or logs: adapters implement the ports.
//
// Every port is safe for concurrent use. A port that cannot reach its server, or
// does not know what became of a write, returns domain.ErrUnavailable, wrapped.
// The context ends every wait. The suites that an implementation has to pass are
// in test/contract, under the names of the ports.
package application

//go:generate go tool -modfile=../tools/go.mod mockgen -typed -destination=mocks/ports.go -package=mocks . TaskRepository,TaskSearch,WorkerRepository,DispatchRepository,QueueRepository,BulkRepository,PurgeRepository,StatisticsRepository,Audit,Queue,Signals,Clock,Handler,Probe,Events
