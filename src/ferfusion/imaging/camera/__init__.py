"""Files of thermal cameras: what is inside, and degrees Celsius where there are any."""
