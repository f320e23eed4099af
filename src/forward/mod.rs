//! Event -> upstream -> answer, while the sender waits.
