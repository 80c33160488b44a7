package application_test

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestBeat_RulesGiveBackWhatIsNotListedAndTimeOutWhatRunsTooLong(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	errRelease, errTimeOut, errGiveUp := errors.New("release"), errors.New("time out"), errors.New("give up")
	id, other := domain.NewTaskID(at), domain.NewTaskID(at)
	ref := application.AttemptRef{Task: id, Attempt: 2}
	running := []application.HeldAttempt{{AttemptRef: ref, Running: true}}
	returned := []application.HeldAttempt{{AttemptRef: ref}}
	givenUp := []application.HeldAttempt{{AttemptRef: ref, GivenUp: true}}
	formerGivenUp := []application.HeldAttempt{{AttemptRef: application.AttemptRef{Task: id, Attempt: 1}, GivenUp: true}}
	for name, c := range map[string]struct {
		claiming []domain.TaskID
		held     []application.HeldAttempt
		number   int64
		now      time.Time
		want     error
	}{
		"not listed, claimed before":            {nil, nil, 8, at, errRelease},
		"not listed, claimed under this beat":   {nil, nil, 7, at, nil},
		"not listed, claimed under a later one": {nil, nil, 6, at, nil},
		"another is claimed":                    {[]domain.TaskID{other}, nil, 8, at, errRelease},
		"in a claim, any attempt":               {[]domain.TaskID{id}, nil, 8, at, nil},
		"another attempt is held":               {nil, []application.HeldAttempt{{AttemptRef: application.AttemptRef{Task: id, Attempt: 1}}}, 8, at, errRelease},
		"running":                               {nil, running, 8, at.Add(-time.Hour), nil},
		"running, at its deadline":              {nil, running, 8, at, nil},
		"running, just past its deadline":       {nil, running, 8, at.Add(1), errTimeOut},
		"past it under a late beat":             {nil, running, 1, at.Add(1), errTimeOut},
		"returned, past its deadline":           {nil, returned, 8, at.Add(time.Hour), nil},
		"listed twice, running once":            {nil, append(returned[:1:1], append(running[:1:1], returned...)...), 8, at.Add(1), errTimeOut},
		"given up":                              {nil, givenUp, 8, at, errGiveUp},
		"given up, under a late beat":           {nil, givenUp, 1, at.Add(1), errGiveUp},
		"given up, and claimed again":           {[]domain.TaskID{id}, givenUp, 8, at, errGiveUp},
		"given up and listed as returned":       {nil, append(givenUp[:1:1], returned...), 8, at, nil},
		"another attempt is given up":           {nil, formerGivenUp, 7, at, nil},
	} {
		b := application.Beat{
			Number: c.number, Claiming: c.claiming, Held: c.held,
			Release: func(*domain.Task) error { return errRelease }, TimeOut: func(*domain.Task) error { return errTimeOut },
			GiveUp: func(*domain.Task) error { return errGiveUp },
		}
		decide := b.Rules().Decide(application.OwnedTask{AttemptRef: ref, ClaimBeat: 7, Deadline: at}, c.now)
		var got error
		if decide != nil {
			got = decide(nil)
		}
		if !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
