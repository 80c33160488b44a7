package usecase_test

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// quiet is what gomock reports to when no test runs.
type quiet struct{}

func (quiet) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// noon is a Clock that stands still: a port is swapped by whatever implements it.
type noon struct{}

func (noon) Now() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) }

// Adapters are swapped by mocks of their ports: here the queue is away, which no
// real one is on demand, and the task is accepted all the same.
func ExampleSubmitTasks() {
	ctrl := gomock.NewController(quiet{})
	tasks, queue := mocks.NewMockTaskRepository(ctrl), mocks.NewMockQueue(ctrl)
	gomock.InOrder(
		tasks.EXPECT().Add(gomock.Any(), gomock.Any()).Return(nil),
		queue.EXPECT().Push(gomock.Any(), gomock.Any()).Return(domain.ErrUnavailable),
	)

	submit := usecase.NewSubmitTasks(tasks, queue, noon{}, application.NoEvents{}, usecase.SubmitLimits{MessageBytes: 1024, MaxAttempts: 3})
	got, err := submit.Run(context.Background(), usecase.SubmitTasksInput{Tasks: []domain.TaskSpec{{Message: "Hello World"}}})

	fmt.Println(got.Tasks[0].Message(), got.Tasks[0].Status(), err)
	// Output: Hello World pending <nil>
}
