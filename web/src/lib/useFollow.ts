/** Keeps the newest text of a scrolling box in view, until its reader scrolls up; back at the end it follows again. */
import { type RefObject, useCallback, useLayoutEffect, useRef, useState } from "react";

/** So close to the end, the reader is taken to follow the text. */
const FOLLOW_PX = 80;

export interface Follow<E extends HTMLElement> {
  box: RefObject<E | null>;
  onScroll: () => void;
  /** Go to the end and follow from there. */
  toEnd: () => void;
  /** The reader is somewhere else. */
  away: boolean;
}

/** *change* is whatever differs when there is more to see; null while there is nothing to follow. */
export function useFollow<E extends HTMLElement>(change: unknown): Follow<E> {
  const box = useRef<E>(null);
  const following = useRef(true);
  const lastTop = useRef(0);
  const [away, setAway] = useState(false);

  const onScroll = useCallback(() => {
    const element = box.current;
    if (!element) return;
    const { scrollTop, scrollHeight, clientHeight } = element;
    // Only who moves up stops following: being far from the end may as well mean that the text outran this event.
    if (scrollHeight - scrollTop - clientHeight < FOLLOW_PX) following.current = true;
    else if (scrollTop < lastTop.current) following.current = false;
    lastTop.current = scrollTop;
    setAway(!following.current);
  }, []);

  const follow = useCallback(() => {
    const element = box.current;
    if (!element || !following.current) return;
    element.scrollTop = element.scrollHeight;
    lastTop.current = element.scrollTop; // its scroll event may come together with one of the reader's
  }, []);

  const toEnd = useCallback(() => {
    following.current = true;
    follow();
    setAway(false);
  }, [follow]);

  useLayoutEffect(() => {
    if (change !== null) follow();
  }, [change, follow]);

  return { box, onScroll, toEnd, away };
}
