// Command worker processes Millrace's tasks from PostgreSQL and Redis.
package main

import (
	"context"
	"os"

	"github.com/millrace/millrace/bootstrap"
	"github.com/millrace/millrace/cmd/internal/cli"
)

func main() {
	cmd := cli.Root("worker", "Process Millrace's tasks from PostgreSQL and Redis.", bootstrap.DescribeWorker(), run)
	cmd.AddCommand(cli.Sub("healthcheck", "Ask the worker on ADMIN_ADDR whether it is ready; exit with 0 if it is.", healthcheck))
	os.Exit(cli.Main(cmd))
}

func run(ctx context.Context, console cli.Console) error {
	cfg, err := bootstrap.LoadWorker(os.Environ())
	if err != nil {
		return err
	}
	log := console.Log(cfg.LogLevel)
	bootstrap.WarnOfMisspelled(os.Environ(), log)
	worker, closeAll, err := bootstrap.NewWorker(cfg, log)
	if err != nil {
		return err
	}
	defer closeAll()
	return worker.Run(ctx)
}

func healthcheck(ctx context.Context, console cli.Console) error {
	cfg, err := bootstrap.LoadWorkerWith(os.Environ())
	if err != nil {
		return err
	}
	addr, err := cfg.FixedAddr()
	if err != nil {
		return err
	}
	return cli.Healthcheck(ctx, console, addr)
}
