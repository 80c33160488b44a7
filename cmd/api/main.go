// Command api serves Millrace's HTTP API on PostgreSQL and Redis.
package main

import (
	"context"
	"os"

	"github.com/millrace/millrace/bootstrap"
	"github.com/millrace/millrace/cmd/internal/cli"
)

func main() {
	cmd := cli.Root("api", "Serve Millrace's HTTP API on PostgreSQL and Redis.", bootstrap.DescribeAPI(), run)
	cmd.AddCommand(
		cli.Sub("migrate", "Migrate the schema and exit.", migrate),
		cli.Sub("healthcheck", "Ask the API on LISTEN_ADDR whether it is ready; exit with 0 if it is.", healthcheck),
	)
	os.Exit(cli.Main(cmd))
}

func run(ctx context.Context, console cli.Console) error {
	return withAPI(console, func(api *bootstrap.API) error { return api.Run(ctx) })
}

func migrate(ctx context.Context, console cli.Console) error {
	return withAPI(console, func(api *bootstrap.API) error { return api.Migrate(ctx) })
}

// withAPI assembles the API from the environment, calls do, and closes the API.
func withAPI(console cli.Console, do func(*bootstrap.API) error) error {
	cfg, err := bootstrap.LoadAPI(os.Environ())
	if err != nil {
		return err
	}
	log := console.Log(cfg.LogLevel)
	bootstrap.WarnOfMisspelled(os.Environ(), log)
	api, closeAll, err := bootstrap.NewAPI(cfg, log)
	if err != nil {
		return err
	}
	defer closeAll()
	return do(api)
}

func healthcheck(ctx context.Context, console cli.Console) error {
	cfg, err := bootstrap.LoadAPI(os.Environ())
	if err != nil {
		return err
	}
	return cli.Healthcheck(ctx, console, cfg.ListenAddr)
}
