// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The same with each of several things. */

const AT_ONCE = 4; // the service computes together what waits

/** Do something with each of some items, a few at once; the first failure ends it. */
export async function each(items, say, signal, work) {
  if (!items.length) return;
  let [next, done, hasFailed] = [0, 0, false];
  const worker = async () => {
    while (next < items.length && !hasFailed) {
      try {
        await work(items[next++]);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
      signal.throwIfAborted();
      if (!hasFailed) say(++done); // otherwise it would replace the words of the error
    }
  };
  say(0);
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
