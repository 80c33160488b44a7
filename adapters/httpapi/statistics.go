package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// ReadStatistics is GET /stats.
func (e *endpoints) ReadStatistics(w http.ResponseWriter, r *http.Request, params api.ReadStatisticsParams) {
	e.handle(w, r, func() error {
		in, err := statisticsInput(params)
		if err != nil {
			return err
		}
		s, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (usecase.Statistics, error) { return e.uc.Statistics.Run(ctx, in) })
		if err != nil {
			return aboutParameters(err)
		}
		writeJSON(w, http.StatusOK, typeJSON, statisticsToJSON(s))
		return nil
	})
}

// statisticsInput reads the parameters, or says all that is wrong with them.
func statisticsInput(params api.ReadStatisticsParams) (usecase.ReadStatisticsInput, error) {
	var wrong []api.ProblemError
	named := func(name string) func(int, error) {
		return func(_ int, err error) { wrong = append(wrong, wrongParameter(name, detailOf(err))) }
	}
	in := usecase.ReadStatisticsInput{From: timeOf(params.From, named("from")), To: timeOf(params.To, named("to"))}
	if params.Step != nil {
		in.Step = time.Duration(*params.Step) * time.Second
	}
	if params.Queue != nil && *params.Queue != string(domain.OtherQueues) {
		queue, err := domain.ParseQueueName(*params.Queue)
		if err != nil {
			named("queue")(0, err)
		}
		in.Queue = queue
	} else if params.Queue != nil {
		in.Queue = domain.OtherQueues
	}
	if len(wrong) > 0 {
		return in, invalid.withErrors(wrong...)
	}
	return in, nil
}

func statisticsToJSON(s usecase.Statistics) api.Statistics {
	out := api.Statistics{
		Queue: nonZero(string(s.Queue)), From: s.From, To: s.To, Step: int(s.Step.Seconds()), Points: make([]api.StatisticsPoint, len(s.Points)),
	}
	for i, p := range s.Points {
		out.Points[i] = api.StatisticsPoint{
			At: p.At, Submitted: p.Submitted, Started: p.Started, Completed: p.Completed, FailedAttempts: p.FailedAttempts,
			Failed: p.Failed, Canceled: p.Canceled, Rescued: p.Rescued, WaitSeconds: percentiles(p.Wait), RunSeconds: percentiles(p.Run),
		}
	}
	return out
}

// percentiles are those that the API names.
func percentiles(h domain.Histogram) (out api.Percentiles) {
	for share, to := range map[float64]**float64{0.50: &out.P50, 0.95: &out.P95, 0.99: &out.P99} {
		if d, ok := h.Quantile(share); ok {
			*to = new(d.Seconds())
		}
	}
	return out
}
