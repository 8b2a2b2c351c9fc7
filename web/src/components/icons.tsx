/** The icons of the page: 24-unit strokes, decorative (the button around each has the label). */
const PATHS = {
  send: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
  stop: "M7.5 7.5h9v9h-9z",
  plus: "M12 5v14M5 12h14",
  settings: "M4 7.5h9M18.5 7.5H20M4 16.5h1.5M11 16.5h9M15.8 5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5M8.2 14a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5",
  frames: "M3 12h3.5l2.8-7.5 5 15 2.9-7.5H21",
  code: "m8.5 7-5 5 5 5M15.5 7l5 5-5 5",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "m5 12.5 4.5 4.5L19 7.5",
  retry: "M4.5 12a7.5 7.5 0 1 0 2.4-5.5M4.5 4v4.5H9",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  close: "m6 6 12 12M18 6 6 18",
  chevron: "m6 9 6 6 6-6",
  down: "M12 5v14M5.5 12.5 12 19l6.5-6.5",
  warning: "M12 4 2.8 19.5h18.4zM12 10v4.5M12 17v.3",
  info: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17M12 11v5.5M12 7.7v.3",
  tool: "M14.5 6.5a4 4 0 0 1 5-1L17 8l1 2 2 1 0-3.5a4 4 0 0 1-5.3 4.8L8 19a2 2 0 0 1-3-3l6.7-6.7a4 4 0 0 1 2.8-2.8z",
  thought: "M9 18h6M10 21h4M12 3a6 6 0 0 0-3.6 10.8c.7.6 1.1 1.3 1.1 2.2h5c0-.9.4-1.6 1.1-2.2A6 6 0 0 0 12 3",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  auto: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17M12 3.5v17M14.5 7v10M17 9v6",
  key: "M14.5 3.5a6 6 0 1 1-3.2 11L8 17.8H5.5v2.7h-3v-3l7.3-7.3a6 6 0 0 1 4.7-6.7M16 8v.3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      className="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill={name === "stop" ? "currentColor" : "none"}
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg className="logo" width="28" height="28" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" className="logo-tile" />
      <g fill="none" strokeWidth="2.6" strokeLinecap="round" className="logo-waves">
        <path d="M7 11c3-3.2 6-3.2 9 0s6 3.2 9 0" />
        <path d="M7 17c3-3.2 6-3.2 9 0s6 3.2 9 0" opacity=".75" />
        <path d="M7 23c3-3.2 6-3.2 9 0" opacity=".5" />
      </g>
    </svg>
  );
}
