/* Octets into a mapped file, where a page that cannot be had is an answer and not the end. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/mapped.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* The copy that this thread makes just now. */
static _Thread_local struct {
    volatile sig_atomic_t going;
    uintptr_t from, to; /* where it writes */
    sigjmp_buf back;
} copy;

static struct sigaction before;
static uintptr_t page_mask; /* some machines tell the page only */

static void on_bus(int number, siginfo_t *info, void *context)
{
    const ucontext_t *interrupted = context;
    uintptr_t at = (uintptr_t)info->si_addr;

    /* si_code > 0: from the kernel, not by kill() */
    if (copy.going != 0 && info->si_code > 0 && at >= (copy.from & page_mask) && at < copy.to) {
        copy.going = 0;
        /* the jump leaves the signals blocked that are blocked in here */
        pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
        siglongjmp(copy.back, 1);
    }
    sigaction(SIGBUS, &before, NULL);
    if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO) {
        raise(number);
    } /* else it comes again when what caused it is done again, with all that is known of it */
}

void mapped_begin(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct sigaction action, now;

    page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_bus;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&lock);
    if (sigaction(SIGBUS, NULL, &now) == 0 &&
        ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != on_bus)) {
        before = now;
        sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&lock);
}

bool mapped_copy(void *to, const void *from, size_t size)
{
    copy.from = (uintptr_t)to;
    copy.to = copy.from + size;
    if (sigsetjmp(copy.back, 0) != 0) {
        return false;
    }
    atomic_signal_fence(memory_order_seq_cst); /* the handler sees these in this order */
    copy.going = 1;
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, from, size);
    atomic_signal_fence(memory_order_seq_cst);
    copy.going = 0;
    return true;
}
