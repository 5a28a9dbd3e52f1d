/* The first signal is noted and lets waits end in order; the second one ends the process at once.
 * Invariant: the handler does nothing but note. Main thread only. */
#include "cli/interrupt.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static volatile sig_atomic_t noted;

static void
note(int signum)
{
    noted = signum;
    /* The next one acts as if nobody had caught it. */
    signal(signum, SIG_DFL);
}

static void catch (int signum)
{
    struct sigaction action = {.sa_handler = note};
    sigemptyset(&action.sa_mask);
    sigaction(signum, &action, NULL);
}

/** From now on SIGINT, SIGTERM and SIGHUP are noted. */
void
berth_interrupt_install(void)
{
    catch (SIGINT);
    catch (SIGTERM);
    catch (SIGHUP);
}

gboolean
berth_interrupted(void)
{
    return noted != 0;
}

/** Returns: the signal that was noted; 0: none. */
int
berth_interrupt_signal(void)
{
    return noted;
}

/** Forgets the noted signal and catches the next one again; for the shell. */
void
berth_interrupt_clear(void)
{
    noted = 0;
    berth_interrupt_install();
}

static void
forwarded(sigset_t *set)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    sigemptyset(set);
    for (gsize i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaddset(set, signals[i]);
    }
}

/** Returns: a signalfd(2) that gets SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH. */
int
berth_interrupt_forward_begin(void)
{
    sigset_t set;
    forwarded(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void
berth_interrupt_forward_end(int fd)
{
    sigset_t set;
    forwarded(&set);
    if (fd >= 0) {
        close(fd);
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}
