#include <pthread.h>

/* Threads and processes stay until the end: PR_SET_PDEATHSIG is about the thread that forked. */
static void *run(void *thread)
{
	((void (*)(void))thread)();
	for (;;)
		pause();
	return NULL;
}

static void start(void (*thread)(void))
{
	pthread_t id;

	if (pthread_create(&id, NULL, run, thread))
		_exit(KSFT_FAIL);
}

/* A process with the descriptors of this one.  What setup mapped is not handed on (MADV_DONTFORK). */
static void start_process(int number, void (*thread)(void))
{
	pid_t pid = fork();

	shared->pid[number] = pid ? pid : getpid();
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run(thread);
}

#define expect_fork(number, child) check_fork("fork()", number, child)

static void check_fork(const char *call, int number, void (*child)(void))
{
	start_process(number, child);
	check(shared->pid[number] > 0, call, "a process", shared->pid[number]);
}

/* A process has left: its memory and its descriptors are gone. */
static void expect_exited(const char *name, pid_t pid)
{
	char state;

	while ((state = state_of(pid)) != 'Z' && state != 'X')
		usleep(100);
	me = name;
	check(1, "_exit(0)", "gone", 0);
}
